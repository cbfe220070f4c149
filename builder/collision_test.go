// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

// TestCollisions: two names of two wheels, or of one, that some file system
// takes for the same. On Linux all of them can lie side by side, and pip and uv
// put them there.
func TestCollisions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string][2]string{
		"T12 file":                   {"pkg/Foo.py", "pkg/foo.py"},
		"T12 directory":              {"Pkg/a.py", "pkg/b.py"},
		"T12 file and directory":     {"Pkg", "pkg/b.py"},
		"T12 below a directory":      {"pkg/Sub/a.py", "pkg/sub/a.py"},
		"T12 NFC and NFD":            {"caf\u00e9.txt", "cafe\u0301.txt"},
		"T13 sharp s":                {"stra\u00dfe.txt", "STRASSE.txt"},
		"T13 ligature":               {"\ufb01le.txt", "file.txt"},
		"T13 Kelvin":                 {"\u212a.txt", "k.txt"},
		"T13 NFD of another case":    {"CAFE\u0301/a.txt", "caf\u00e9/b.txt"},
		"Z9 case variant":            {"torch/__init__.py", "Torch/__init__.py"},
		"Z9 file over the directory": {"torch/__init__.py", "torch"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := input(t)
			addWheel(t, &in, "first", map[string]string{c[0]: "1"}, wheeltest.Options{})
			addWheel(t, &in, "second", map[string]string{c[1]: "2"}, wheeltest.Options{})
			_, err := NewPlan(t.Context(), in)
			if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "first-1.0-py3-none-any.whl") || !strings.Contains(err.Error(), "second-1.0-py3-none-any.whl") {
				t.Errorf("two wheels: %v", err)
			}
			in = input(t)
			addWheel(t, &in, "both", map[string]string{c[0]: "1", c[1]: "2"}, wheeltest.Options{})
			if _, err := NewPlan(t.Context(), in); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "both-1.0-py3-none-any.whl") {
				t.Errorf("one wheel: %v", err)
			}
		})
	}
}

// TestNewerFormat: a wheel of a newer minor version of the format is built, and
// a note says so.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	in := input(t)
	addWheel(t, &in, "newer", nil, wheeltest.Options{Wheel: "Wheel-Version: 1.9\nRoot-Is-Purelib: true\n"})
	var notes []string
	in.Events = func(e bundle.Event) {
		if e.Kind == bundle.EventNote {
			notes = append(notes, e.Reason)
		}
	}
	newPlan(t, in)
	if len(notes) != 1 || !strings.HasPrefix(notes[0], "newer-1.0-py3-none-any.whl: ") {
		t.Errorf("%q", notes)
	}
}

// TestGrownWheel: a wheel that grew after it was planned is not built.
func TestGrownWheel(t *testing.T) {
	t.Parallel()
	in := input(t)
	w := in.Wheels[1]
	data, err := os.ReadFile(w.Path)
	if err != nil {
		t.Fatal(err)
	}
	grown := filepath.Join(t.TempDir(), w.File)
	if err := os.WriteFile(grown, append(data, "more"...), 0o600); err != nil {
		t.Fatal(err)
	}
	in.Wheels[1].Path = grown
	if _, err := NewPlan(t.Context(), in); !errors.Is(err, bundle.ErrMismatch) || !strings.Contains(err.Error(), w.File) {
		t.Errorf("%v", err)
	}
}
