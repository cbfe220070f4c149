// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/diskspace"
)

// Two homes know nothing of each other, but have one store.
func TestPullsOfTwoHomes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "models")
	a := newModel(t, `{}`)
	var wg sync.WaitGroup
	for range 4 {
		s, err := Open(dir, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			m, err := s.Pull(t.Context(), a, a.Root(), "a", nil)
			if err != nil {
				t.Error(err)
				return
			}
			if r, err := s.Check(t.Context(), m, true, nil); err != nil || len(r.Damaged) > 0 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	wg.Wait()
}

// Another program removes a model, and with it files that a pull had found in
// the store, before models.json names them for the pull.
func TestPullBesideARemoval(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"blob", "config", "manifest"} {
		s := newStore(t)
		a := newModel(t, `{"model_type":"a"}`)
		m := pull(t, s, a, "old")
		path := map[string]string{
			"blob": weightBlob(s, m), "manifest": s.manifestPath(m.ID),
			"config": s.blobPath(digest.FromBytes(configOf(t, s, m))),
		}[what]
		remove := sync.OnceValue(func() error { return os.Remove(path) })
		s.failpoint = func(step string) error {
			if step != "rewritten" {
				return nil
			}
			return remove()
		}
		again, notes, err := pullNoted(t, s, a, "new")
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !slices.Contains(notes, "files of docker.io/ai/new:latest were removed meanwhile; fetching them again") {
			t.Errorf("%s: %q", what, notes)
		}
		if _, err := s.Materialize(t.Context(), again); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// DMR has read models.json before our entry was in it, and writes it back after
// we had looked, whoever made the entry.
func TestPullAgainstALateWriter(t *testing.T) {
	t.Parallel()
	for _, daemon := range []bool{false, true} {
		s := newStore(t)
		pull(t, s, newModel(t, `{"model_type":"a"}`), "a")
		path := filepath.Join(s.dir, "models.json")
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if daemon {
			s.Daemons = []Daemon{{base: startDMR(t, s.dir, "").url}}
		}
		s.failpoint = func(step string) error {
			if step != "registered" {
				return nil
			}
			return os.WriteFile(path, old, 0o600)
		}
		m := pull(t, s, newModel(t, `{"model_type":"b"}`), "b")
		if list, err := s.List(); err != nil || len(list) != 2 || list[1].ID != m.ID {
			t.Errorf("%d models, %v", len(list), err)
		}
	}
}

// DMR adds a model while we write ours: both stay, and so does a removal.
func TestRewriteBesideAnAddition(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	pull(t, s, newModel(t, `{"model_type":"a"}`), "a")
	added := 0
	s.failpoint = func(step string) error {
		if step != "synced" || added == 3 {
			return nil
		}
		added++
		x, err := s.readIndex()
		if err != nil {
			return err
		}
		data, err := x.put(digest.FromString(strings.Repeat("x", added)), "theirs:"+strings.Repeat("x", added), nil)
		return errors.Join(err, os.WriteFile(s.indexPath(), data, 0o600))
	}
	pull(t, s, newModel(t, `{"model_type":"b"}`), "b")
	added = 1
	remove(t, s, "a")
	x, err := s.readIndex()
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]bool{"a": false, "b": true, "theirs:x": true, "theirs:xx": true, "theirs:xxx": true} {
		if full, err := Normalize(tag); err != nil || x.tagged(full) != want {
			t.Errorf("%s: %v, %v", tag, !want, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(s.dir, "*.tmp-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A model that loses its only name stays, and how to be rid of it is said.
func TestPullTakesAName(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	old := pull(t, s, newModel(t, `{"model_type":"a"}`), "x")
	_, notes, err := pullNoted(t, s, newModel(t, `{"model_type":"b"}`), "x")
	short := old.ID.Encoded()[:12]
	if want := "docker.io/ai/x:latest was model " + short + ", which has no name now: 'metalrun rm " + short + "' removes it"; err != nil || !slices.Equal(notes, []string{want}) {
		t.Errorf("%q, %v", notes, err)
	}
	remove(t, s, short)
	pull(t, s, newModel(t, `{"model_type":"b"}`), "y")
	if _, notes, err := pullNoted(t, s, newModel(t, `{"model_type":"a"}`), "x"); err != nil || len(notes) > 0 {
		t.Errorf("one of two names: %q, %v", notes, err)
	}
}

// configOf is the config blob of a model.
func configOf(t *testing.T, s *Store, m Model) []byte {
	t.Helper()
	manifest, err := s.manifest(m.ID)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(s.blobPath(manifest.Config.Digest))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A hard link of DMR's leads to the bytes that were damaged: it must not outlive
// a repair, since DMR starts an engine on what is in its directory.
func TestRepairReachesDMR(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	a, b := newModel(t, `{"model_type":"a"}`), newModelOf(t, `{"model_type":"b"}`, 1)
	m, other := pull(t, s, a, "a"), pull(t, s, b, "b")
	link(t, s, m)
	link(t, s, other)
	flip(t, weightBlob(s, m)) // through whichever name
	report, err := s.Check(t.Context(), m, false, nil)
	if err != nil || len(report.Damaged) != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	if err := s.Repair(t.Context(), a, report.Damaged, nil); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(s.dir, "bundles", "sha256"))
	if err != nil || len(left) != 1 || left[0].Name() != other.ID.Encoded() {
		t.Errorf("%v, %v", left, err)
	}
}

// What we do not know is read, and not written to.
func TestLayoutVersions(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		`{"version": "1.0.0"}`: true, `{"version":"1.9","new":{}}`: true, ``: true, `{"version":`: true, `{}`: true,
		`{"version": "2.0.0"}`: false, `{"version":"next"}`: false,
	} {
		s := newStore(t)
		a := newModel(t, `{}`)
		m := pull(t, s, a, "a")
		write(t, text, s.dir, "layout.json")
		_, perr := s.Pull(t.Context(), a, a.Root(), "b", nil)
		_, rerr := s.Remove(t.Context(), "a", nil)
		_, uerr := s.RemoveUnused(t.Context(), false, nil)
		for _, err := range []error{perr, rerr, uerr} {
			if ok != (err == nil) || err != nil && (!errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "layout.json: version")) {
				t.Errorf("%s: %v", text, err)
			}
		}
		if _, err := s.Materialize(t.Context(), m); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A name with a digest is that model or none, never what the name means today.
func TestFindPinned(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	old, now := pull(t, s, newModel(t, `{"model_type":"a"}`), "x"), pull(t, s, newModel(t, `{"model_type":"b"}`), "x")
	none := digest.FromString("none")
	for name, want := range map[string]digest.Digest{
		"x": now.ID, "ai/x:latest@" + now.ID.String(): now.ID, "x@" + now.ID.String(): now.ID, " x@" + now.ID.String() + "\n": now.ID,
		"x@" + old.ID.String(): old.ID, "other@" + now.ID.String(): now.ID, "x@" + none.String(): "",
	} {
		m, err := s.Find(name)
		if want == "" {
			if !errors.Is(err, bundle.ErrNotFound) || !strings.Contains(err.Error(), "docker.io/ai/x:latest is "+now.ID.String()+" now") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || m.ID != want {
			t.Errorf("%s: %s, %v", name, m.ID, err)
		}
	}
	r := remove(t, s, "x@"+old.ID.String())
	if r.ID != old.ID || len(r.Tags) > 0 {
		t.Errorf("%+v", r)
	}
	if m, err := s.Find("x"); err != nil || m.ID != now.ID {
		t.Errorf("%s, %v", m.ID, err)
	}
}

// The room is counted before bytes move; what is there already needs none.
func TestSpaceOfAPull(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := pull(t, s, newModel(t, `{}`), "x")
	for _, f := range m.Info.Files {
		if n := s.lacks([]bundle.Descriptor{f.Descriptor}); n != 0 {
			t.Errorf("%s: %d", f.Path, n)
		}
	}
	huge := bundle.Descriptor{Digest: digest.FromString("huge"), Size: 1 << 60}
	write(t, "begun", s.dir, "blobs/sha256", huge.Digest.Encoded()+partialSuffix)
	err := diskspace.Check(s.dir, s.lacks([]bundle.Descriptor{m.Info.Files[0].Descriptor, huge, huge}))
	if full, ok := errors.AsType[*diskspace.Error](err); !ok || full.Need != huge.Size-int64(len("begun")) || full.Dir != s.dir {
		t.Errorf("got %v", err)
	}
}
