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

// TestWaiverPath: a waiver for one file does not let another pass, and one
// that nothing needed is not among the used.
func TestWaiverPath(t *testing.T) {
	t.Parallel()
	file := "demo-1.0-py3-none-any.whl"
	one := wheeltest.Build("demo", "1.0", map[string]string{"demo.pth": "import x\n"}, wheeltest.Options{})
	two := wheeltest.Build("demo", "1.0", map[string]string{"demo.pth": "import x\n", "more.pth": "import y\n"}, wheeltest.Options{})
	for _, path := range []string{"demo.pth", site + "demo.pth", "d*.pth"} {
		waive := []Waiver{{Rule: RulePth, Path: path}, {Rule: RuleStartup}, {Rule: RuleRecord, Path: "demo/"}}
		w, err := Open(bytes.NewReader(one), int64(len(one)), file, Options{Waive: waive})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if d := cmp.Diff(waive[:1], w.Used()); d != "" {
			t.Error(d)
		}
		_, err = Open(bytes.NewReader(two), int64(len(two)), file, Options{Waive: waive})
		if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "more.pth") {
			t.Errorf("%s: the other file: %v", path, err)
		}
	}
}

// TestRecordWaiverPath: RECORD may be wrong about the named file alone.
func TestRecordWaiverPath(t *testing.T) {
	t.Parallel()
	file := "demo-1.0-py3-none-any.whl"
	data := wheeltest.Build("demo", "1.0", map[string]string{"a.py": "1", "b.py": "2"}, wheeltest.Options{
		Record: func(s string) string { return strings.Replace(s, "b.py,", "gone.py,", 1) },
	})
	try := func(paths ...string) error {
		var o Options
		for _, p := range paths {
			o.Waive = append(o.Waive, Waiver{Rule: RuleRecord, Path: p})
		}
		_, err := Open(bytes.NewReader(data), int64(len(data)), file, o)
		return err
	}
	if err := try("b.py", "gone.py"); err != nil {
		t.Error(err)
	}
	for _, paths := range [][]string{{"a.py"}, {"b.py"}, {"gone.py"}} {
		if err := try(paths...); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%q: %v", paths, err)
		}
	}
}

// TestDirectURL: a wheel from an address of its own says so, in RECORD too.
func TestDirectURL(t *testing.T) {
	t.Parallel()
	data := wheeltest.Build("demo", "1.0", map[string]string{"demo.py": "1"}, wheeltest.Options{})
	o := Options{URL: "https://user:secret@example.com/demo-1.0-py3-none-any.whl#sha256=0", SHA256: strings.Repeat("a", 64)}
	w, err := Open(bytes.NewReader(data), int64(len(data)), "demo-1.0-py3-none-any.whl", o)
	if err != nil {
		t.Fatal(err)
	}
	files, err := w.Files(nil)
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, files)
	want := `{"archive_info":{"hashes":{"sha256":"` + o.SHA256 + `"}},"url":"https://example.com/demo-1.0-py3-none-any.whl"}`
	if d := cmp.Diff(want, got["644 "+site+"demo-1.0.dist-info/direct_url.json"]); d != "" {
		t.Error(d)
	}
	if !strings.Contains(got["644 "+site+"demo-1.0.dist-info/RECORD"], "direct_url.json,sha256=") {
		t.Error("RECORD does not list it")
	}
	o.URL = "demo.whl"
	if _, err := Open(bytes.NewReader(data), int64(len(data)), "demo-1.0-py3-none-any.whl", o); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("%v", err)
	}
}
