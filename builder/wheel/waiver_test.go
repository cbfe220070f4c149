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
