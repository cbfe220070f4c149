// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

// TestDirectURL: a wheel that is on no index says where it comes from, without a
// login, in RECORD too (PEP 610).
func TestDirectURL(t *testing.T) {
	t.Parallel()
	const file = "demo-1.0-py3-none-any.whl"
	sum := strings.Repeat("a", 64)
	data := wheeltest.Build("demo", "1.0", map[string]string{"demo.py": "1"}, wheeltest.Options{})
	for name, c := range map[string]struct {
		origin Origin
		want   string // "" = refused
	}{
		"archive":      {Origin{URL: "https://user:secret@example.com/" + file + "#sha256=0"}, `{"archive_info":{"hashes":{"sha256":"` + sum + `"}},"url":"https://example.com/` + file + `"}`},
		"no address":   {Origin{URL: "demo.whl"}, ""},
		"commit":       {Origin{URL: "https://token@example.com/demo.git", VCS: "git", Commit: "c0ffee"}, `{"url":"https://example.com/demo.git","vcs_info":{"commit_id":"c0ffee","vcs":"git"}}`},
		"below":        {Origin{URL: "https://example.com/demo", VCS: "git", Commit: "c0ffee", Revision: "v1", Subdirectory: "python"}, `{"subdirectory":"python","url":"https://example.com/demo","vcs_info":{"commit_id":"c0ffee","requested_revision":"v1","vcs":"git"}}`},
		"ssh":          {Origin{URL: "ssh://git@example.com/demo", VCS: "git", Commit: "c0ffee"}, `{"url":"ssh://git@example.com/demo","vcs_info":{"commit_id":"c0ffee","vcs":"git"}}`},
		"ssh, secret":  {Origin{URL: "ssh://git:secret@example.com/demo", VCS: "git", Commit: "c0ffee"}, `{"url":"ssh://example.com/demo","vcs_info":{"commit_id":"c0ffee","vcs":"git"}}`},
		"file":         {Origin{URL: "file:///src/demo", VCS: "git", Commit: "c0ffee"}, `{"url":"file:///src/demo","vcs_info":{"commit_id":"c0ffee","vcs":"git"}}`},
		"no commit":    {Origin{URL: "https://example.com/demo", VCS: "git"}, ""},
		"scp's syntax": {Origin{URL: "git@example.com:demo", VCS: "git", Commit: "c0ffee"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := Open(bytes.NewReader(data), int64(len(data)), file, Options{Origin: c.origin, SHA256: sum})
			if c.want == "" {
				if !errors.Is(err, bundle.ErrInvalid) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			files, err := w.Files(nil)
			if err != nil {
				t.Fatal(err)
			}
			got := read(t, files)
			if d := cmp.Diff(c.want, got["644 "+site+"demo-1.0.dist-info/direct_url.json"]); d != "" {
				t.Error(d)
			}
			if !strings.Contains(got["644 "+site+"demo-1.0.dist-info/RECORD"], "direct_url.json,sha256=") {
				t.Error("RECORD does not list it")
			}
		})
	}
}
