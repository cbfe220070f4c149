// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

// Who only looks makes no directory, neither a store nor a state of ours.
func TestLookingMakesNothing(t *testing.T) {
	t.Parallel()
	dir, state := filepath.Join(t.TempDir(), "models"), filepath.Join(t.TempDir(), "state")
	s, err := Open(dir, state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(); err != nil {
		t.Error(err)
	}
	if _, err := s.Usage(); err != nil {
		t.Error(err)
	}
	if _, err := s.Find("ai/x"); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	for _, made := range []string{dir, state} {
		if _, err := os.Lstat(made); err == nil {
			t.Errorf("%s was made", made)
		}
	}
}

// A check does not fail because what it found cannot be noted.
func TestCheckWithoutState(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := pull(t, s, newModel(t, `{"model_type":"a"}`), "tiny")
	if err := errors.Join(os.RemoveAll(s.state), os.WriteFile(s.state, nil, 0o600)); err != nil { // nothing can be made there
		t.Fatal(err)
	}
	var notes []string
	r, err := s.Check(t.Context(), m, false, func(e bundle.Event) {
		if e.Kind == bundle.EventNote {
			notes = append(notes, e.Reason)
		}
	})
	if err != nil || len(r.Damaged) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if len(notes) != r.Files || !strings.Contains(notes[0], "is right, but will be hashed again") {
		t.Errorf("notes %q", notes)
	}
}

// A pull of what is there writes nothing: on a full disk it succeeds.
func TestPullOfWhatIsThere(t *testing.T) {
	t.Parallel()
	s, a := newStore(t), newModel(t, `{"model_type":"a"}`)
	m := pull(t, s, a, "tiny")
	stamps := func() (out []string) {
		for _, f := range files(t, s) {
			info, err := os.Lstat(f)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, f+" "+info.ModTime().String())
		}
		return out
	}
	before := stamps()
	pull(t, s, a, "tiny")
	if diff := cmp.Diff(before, stamps()); diff != "" || !slices.ContainsFunc(before, func(f string) bool { return strings.Contains(f, m.ID.Encoded()) }) {
		t.Errorf("%s of %q", diff, before)
	}
	flip(t, s.manifestPath(m.ID))
	pull(t, s, a, "tiny")
	if _, err := s.Find("tiny"); err != nil {
		t.Error(err)
	}
}
