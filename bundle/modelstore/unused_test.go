// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// later lets a sweep run at a time when what lies there has been left alone.
func later(s *Store) { s.now = func() time.Time { return time.Now().Add(2 * settled) } }

func unused(t *testing.T, s *Store, dry bool) Unused {
	t.Helper()
	u, err := s.RemoveUnused(t.Context(), dry, nil)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func write(t *testing.T, data string, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(data), 0o600)); err != nil {
		t.Fatal(err)
	}
	return name
}

// What a pull that was given up leaves can go at once; what is of use stays.
func TestUnusedAfterACutPull(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	pull(t, s, newModel(t, `{"model_type":"a"}`), "a")
	mustMaterialize(t, s, "a")
	before := files(t, s)
	if u := unused(t, s, false); u != (Unused{}) {
		t.Errorf("a sound store: %+v", u)
	}
	cut := &cutSource{Artifact: newModelOf(t, `{"model_type":"b"}`, 1), broken: true}
	if _, err := s.Pull(t.Context(), cut, cut.Root(), "b", nil); !errors.Is(err, bundle.ErrUnreachable) {
		t.Fatalf("got %v", err)
	}
	write(t, "x", s.dir, "blobs/sha256/.fsatomic-KILLED")
	write(t, "xx", s.dir, "manifests/sha256/.fsatomic-KILLED")
	write(t, "xxx", s.dir, ".fsatomic-KILLED")
	after := files(t, s)
	dry := unused(t, s, true)
	if diff := cmp.Diff(after, files(t, s)); diff != "" {
		t.Errorf("a dry run changed: %s", diff)
	}
	if dry.Partial.Files < 4 || dry.Kept.Files != 0 {
		t.Errorf("%+v", dry)
	}
	if diff := cmp.Diff(dry, unused(t, s, false)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, files(t, s)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Lstat(filepath.Join(s.dir, ".fsatomic-KILLED")); err == nil {
		t.Error("a temporary models.json stayed")
	}
	mustMaterialize(t, s, "a")
	pull(t, s, cut.Artifact, "b")
}

// What another program left goes when it is old; what it is at stays.
func TestUnusedOfOthers(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := pull(t, s, newModel(t, `{}`), "a")
	gone := digest.FromString("a model that lost its entry").Encoded()
	foreign := write(t, "orphan", s.dir, "blobs/sha256", digest.FromString("orphan").Encoded())
	write(t, "temp", s.dir, "blobs/sha256", gone+".tmp-1")
	write(t, "temp", s.dir, "models.json.tmp-1")
	manifest := write(t, "{}", s.dir, "manifests/sha256", gone)
	links := filepath.Join(s.dir, "bundles/sha256", gone)
	write(t, "cfg", links, "config.json")
	if err := os.Link(foreign, filepath.Join(links, "linked")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(weightBlob(s, m), filepath.Join(links, "used")); err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(s.state, "models", gone)
	write(t, "copy", tree, "config.json")
	kept := []string{write(t, "mine", s.dir, "README"), write(t, "mine", s.dir, "blobs/sha256/notes.txt"), write(t, "mine", s.dir, "bundles/sha256/notes/x")}

	if u := unused(t, s, false); u.Kept.Files != 4 || u.Blobs.Files != 0 || u.Other.Files != 1 {
		t.Errorf("new files: %+v", u)
	}
	later(s)
	want := Unused{Blobs: Amount{1, 6}, Partial: Amount{2, 8}, Other: Amount{2, 5}}
	if diff := cmp.Diff(want, unused(t, s, false)); diff != "" {
		t.Error(diff)
	}
	for _, p := range []string{foreign, manifest, links, tree} {
		if _, err := os.Lstat(p); err == nil {
			t.Errorf("%s stayed", p)
		}
	}
	for _, p := range kept {
		if _, err := os.Lstat(p); err != nil {
			t.Error(err)
		}
	}
	mustMaterialize(t, s, "a")
}

// While DMR pulls, also what it has already may be of use to it.
func TestUnusedBesideAPull(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	pull(t, s, newModel(t, `{}`), "a")
	write(t, "half", s.dir, "blobs/sha256", digest.FromString("whole").Encoded()+".incomplete")
	write(t, "x", s.dir, "blobs/sha256/.fsatomic-KILLED")
	before := files(t, s)
	_, err := s.RemoveUnused(t.Context(), false, nil)
	if busy, ok := errors.AsType[*BusyError](err); !ok || !strings.Contains(err.Error(), ".incomplete changed") || busy.Hint() == "" {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(before, files(t, s)); diff != "" {
		t.Error(diff)
	}
	later(s)
	if u := unused(t, s, false); u.Partial != (Amount{2, 5}) {
		t.Errorf("%+v", u)
	}
}

// What cannot be read is not taken for unused.
func TestUnusedUnknown(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := pull(t, s, newModel(t, `{}`), "a")
	later(s)
	index := filepath.Join(s.dir, "models.json")
	before := files(t, s)
	for text, want := range map[string]string{
		`{"models":[`: "is damaged",
		`{"models":[{"id":"` + digest.FromString("x").String() + `","tags":["ai/x"]}]}`: "docker.io/ai/x:latest: its manifest is damaged",
	} {
		write(t, text, index)
		if _, err := s.RemoveUnused(t.Context(), false, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v", err)
		}
	}
	write(t, `{"models":[7,{"of a later version":["`+m.ID.Encoded()+`"]}]}`, index)
	if u := unused(t, s, false); u != (Unused{}) {
		t.Errorf("%+v", u)
	}
	if diff := cmp.Diff(before, files(t, s)); diff != "" {
		t.Error(diff)
	}
}

// Where models.json is lost nobody can say what is used; where there are no
// models yet, nothing is.
func TestUnusedWithoutAnIndex(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	cut := &cutSource{Artifact: newModel(t, `{}`), broken: true}
	if _, err := s.Pull(t.Context(), cut, cut.Root(), "a", nil); !errors.Is(err, bundle.ErrUnreachable) {
		t.Fatalf("got %v", err)
	}
	if u := unused(t, s, false); u.Partial.Files == 0 {
		t.Errorf("of a first pull that was cut: %+v", u)
	}
	m := pull(t, s, cut.Artifact, "a")
	later(s)
	index := filepath.Join(s.dir, "models.json")
	lose := map[string]func() error{"empty": func() error { return os.Truncate(index, 0) }, "moved away": func() error { return os.Remove(index) }}
	for what, f := range lose {
		write(t, `{"models":[]}`, index)
		if err := f(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.RemoveUnused(t.Context(), false, nil); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "pull the models again") {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Lstat(weightBlob(s, m)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A pull of DMR takes what is there, whoever brought it, and between two files of
// it nothing but a new blob shows that it goes on.
func TestUnusedBetweenTwoFiles(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := pull(t, s, newModel(t, `{}`), "a")
	write(t, `{"models":[]}`, s.dir, "models.json") // the model that DMR pulls is not listed yet
	fresh := write(t, "new", s.dir, "blobs/sha256", digest.FromString("new").Encoded())
	if u := unused(t, s, false); u.Blobs.Files != 0 || u.Kept.Files < 2 {
		t.Errorf("%+v", u)
	}
	if _, err := os.Lstat(weightBlob(s, m)); err != nil {
		t.Error(err)
	}
	if err := os.Remove(fresh); err != nil {
		t.Fatal(err)
	}
	if u := unused(t, s, false); u.Blobs.Files == 0 {
		t.Errorf("%+v", u)
	}
}

// A model that another program lists at the last moment is told what it lost.
func TestUnusedTellsLosers(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	pull(t, s, newModel(t, `{}`), "a")
	listed, err := os.ReadFile(filepath.Join(s.dir, "models.json"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, `{"models":[]}`, s.dir, "models.json")
	s.failpoint = func(string) error {
		write(t, string(listed), s.dir, "models.json")
		return nil
	}
	var notes []string
	if _, err := s.RemoveUnused(t.Context(), false, func(e bundle.Event) { notes = append(notes, e.Reason) }); err != nil {
		t.Fatal(err)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "docker.io/ai/a:latest was added meanwhile and has lost files") {
		t.Errorf("got %q", notes)
	}
}

// Two stores of one home may hold one model: what one does leaves the other's.
func TestTwoStoresOfOneHome(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	var stores []*Store
	var dirs []string
	m := newModel(t, `{}`)
	for range 2 {
		s, err := Open(filepath.Join(t.TempDir(), "models"), state)
		if err != nil {
			t.Fatal(err)
		}
		s.secondLook = 0
		pull(t, s, m, "a")
		stores = append(stores, s)
	}
	for _, s := range stores {
		found, err := s.Find("a")
		if err != nil {
			t.Fatal(err)
		}
		dir, err := s.Materialize(t.Context(), found)
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	killed := errors.New("killed")
	stores[0].failpoint = func(step string) error { return map[string]error{"noted": killed}[step] }
	if _, err := stores[0].Remove(t.Context(), "a", nil); !errors.Is(err, killed) {
		t.Fatalf("got %v", err)
	}
	stores[0].failpoint = nil
	remove(t, stores[1], "a")
	unused(t, stores[1], false)
	if to, err := os.Readlink(filepath.Join(dirs[0], "model.safetensors")); err != nil || !strings.HasPrefix(to, stores[0].dir) {
		t.Errorf("the other's links: %s, %v", to, err)
	}
	if _, err := os.Lstat(dirs[1]); err == nil {
		t.Error("its own stayed")
	}
	mustMaterialize(t, stores[0], "a")
}

// A store has one state however it is spelled, before it is made and after.
func TestStateName(t *testing.T) {
	t.Parallel()
	place, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(place, link); err != nil {
		t.Fatal(err)
	}
	before := stateName(filepath.Join(link, "a", "models"))
	if err := os.MkdirAll(filepath.Join(place, "a", "models"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{link, place} {
		if stateName(filepath.Join(dir, "a", "models")) != before {
			t.Errorf("%s has another state", dir)
		}
	}
	if stateName(filepath.Join(link, "models")) == before {
		t.Error("two stores have one state")
	}
}
