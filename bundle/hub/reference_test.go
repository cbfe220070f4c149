// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
)

func TestParseReference(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"hf.co/org/name":                      "hf.co/org/name",
		"HF.co/org/name@main":                 "hf.co/org/name@main",
		"huggingface.co/Org/Na.me-4_bit@v1":   "hf.co/Org/Na.me-4_bit@v1",
		"https://huggingface.co/org/name":     "hf.co/org/name",
		"org/name@refs/pr/1":                  "hf.co/org/name@refs/pr/1",
		"org/name@" + strings.Repeat("a", 40): "hf.co/org/name@" + strings.Repeat("a", 40),
	} {
		if got, err := hub.ParseReference(in); err != nil || got.String() != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", "name", "hf.co/name", "hf.co/org/name/x", "hf.co/org/name@", "hf.co/org/name@a b", "hf.co/org/name@../x", "hf.co/org/name@a//b", "hf.co/org/name@a?b", "hf.co/org/name@%2e",
		"hf.co/org/name:tag", "hf.co/../name", "hf.co/org/..", "hf.co/org/a--b", "hf.co/-org/name", "hf.co/org/name.", "hf.co/org/na%2fme", "hf.co@evil.com/x", "hf.co.evil.com/org/name",
		"http://huggingface.co/org/name", "hf.co/org/" + strings.Repeat("n", 97), "hf.co/org/name@" + strings.Repeat("r", hub.MaxRevision+1), "hf.co/org/n\x00me", "hf.co/org/name@x@y",
	} {
		if got, err := hub.ParseReference(in); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for in, want := range map[string]bool{"hf.co/x": true, "Huggingface.co/a/b": true, "https://hf.co/a/b": true, "org/name": false, "hf.co.evil/a/b": false, "./hf.co/a": false} {
		if hub.IsReference(in) != want {
			t.Errorf("%s: %v", in, !want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	write := func(p, data string) string {
		p = filepath.Join(home, p)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	write(".cache/huggingface/token", "hf_default\n")
	write("hf/token", "hf_home\n")
	path := write("elsewhere", "hf_path")
	bad := write("bad", "hf_one\nhf_two")
	long := write("long", strings.Repeat("x", 5000))
	tests := map[string]struct {
		env             map[string]string
		endpoint, token string
		want            error
	}{
		"nothing":  {},
		"no home":  {env: map[string]string{"HOME": os.DevNull}},
		"home":     {env: map[string]string{"HOME": home}, token: "hf_default"},
		"xdg":      {env: map[string]string{"HOME": home, "XDG_CACHE_HOME": home}},
		"HF_HOME":  {env: map[string]string{"HOME": home, "HF_HOME": filepath.Join(home, "hf")}, token: "hf_home"},
		"path":     {env: map[string]string{"HOME": home, "HF_TOKEN_PATH": path}, token: "hf_path"},
		"HF_TOKEN": {env: map[string]string{"HF_TOKEN": " hf_env\n", "HF_TOKEN_PATH": path, "HF_ENDPOINT": "https://hub.example"}, endpoint: "https://hub.example", token: "hf_env"},
		"CR LF":    {env: map[string]string{"HF_TOKEN": "hf_a\r\nX: hf_b"}, want: bundle.ErrInvalid},
		"two":      {env: map[string]string{"HF_TOKEN_PATH": bad}, want: bundle.ErrInvalid},
		"long":     {env: map[string]string{"HF_TOKEN_PATH": long}, want: bundle.ErrInvalid},
	}
	for what, test := range tests {
		c, err := hub.Environment(func(k string) string { return test.env[k] })
		if test.want != nil {
			if !errors.Is(err, test.want) || strings.Contains(err.Error(), "hf_") {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		got := []string{c.Endpoint, c.Token}
		if diff := cmp.Diff([]string{test.endpoint, test.token}, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
}
