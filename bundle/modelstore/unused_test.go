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
	hex := make([]string, 0, len(m.Info.Files))
	for _, f := range m.Info.Files {
		hex = append(hex, f.Descriptor.Digest.Encoded())
	}
	write(t, `{"models":[7,{"of a later version":["`+strings.Join(slices.Concat(hex, []string{m.ID.Encoded()}), `","`)+`"]}]}`, index)
	if u := unused(t, s, false); u.Blobs.Files != 1 { // the config, which nothing names
		t.Errorf("%+v", u)
	}
	if after := files(t, s); len(after) < len(before)-2 {
		t.Errorf("%v", after)
	}
}
