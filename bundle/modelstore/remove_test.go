// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// files lists what is in the store and in our state about models, but for the
// lists themselves.
func files(t *testing.T, s *Store) (out []string) {
	t.Helper()
	for _, pattern := range []string{"blobs/sha256/*", "manifests/sha256/*", "bundles/sha256/*"} {
		found, err := filepath.Glob(filepath.Join(s.dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	for _, pattern := range []string{"models/*", "verified/*", "removing/*"} {
		found, err := filepath.Glob(filepath.Join(s.state, pattern))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	return out
}

func remove(t *testing.T, s *Store, name string) Removal {
	t.Helper()
	r, err := s.Remove(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustMaterialize(t *testing.T, s *Store, name string) {
	t.Helper()
	m, err := s.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Materialize(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// link does what DMR does to load a model: hard links below bundles.
func link(t *testing.T, s *Store, m Model) {
	t.Helper()
	dir := filepath.Join(s.dir, "bundles", "sha256", m.ID.Encoded(), "model")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Link(weightBlob(s, m), filepath.Join(dir, "model.safetensors"))); err != nil {
		t.Fatal(err)
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	a, b := newModel(t, `{"model_type":"a"}`), newModel(t, `{"model_type":"b"}`)
	m := pull(t, s, a, "a")
	pull(t, s, a, "a:v1")
	pull(t, s, b, "b")
	mustMaterialize(t, s, "a")
	link(t, s, m)
	before := files(t, s)

	// A tag of several goes alone; an id needs to be meant.
	_, err := s.Remove(t.Context(), m.ID.Encoded()[:12], nil)
	if names, ok := errors.AsType[*NamesError](err); !ok || !strings.Contains(names.Hint(), "metalrun rm docker.io/ai/a:latest docker.io/ai/a:v1'") {
		t.Errorf("got %v", err)
	}
	want := Removal{ID: m.ID, Tags: []string{"docker.io/ai/a:latest"}, Left: []string{"docker.io/ai/a:v1"}}
	if diff := cmp.Diff(want, remove(t, s, "ai/A")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, files(t, s)); diff != "" {
		t.Errorf("files went with a tag of two: %s", diff)
	}
	if _, err := s.Remove(t.Context(), "a", nil); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("got %v", err)
	}

	// The last takes the model with it, and what is b's too stays.
	r := remove(t, s, m.ID.String())
	var shared int64
	for _, f := range m.Info.Files {
		if f.Path != "config.json" {
			shared += f.Descriptor.Size
		}
	}
	if diff := cmp.Diff([]Shared{{With: "docker.io/ai/b:latest", Files: 3, Bytes: shared}}, r.Shared); diff != "" {
		t.Error(diff)
	}
	if r.Files != 2 || r.Freed == 0 || r.Freed > weightSize || !slices.Equal(r.Tags, []string{"docker.io/ai/a:v1"}) {
		t.Errorf("%+v", r)
	}
	for _, f := range files(t, s) {
		if strings.Contains(f, m.ID.Encoded()) {
			t.Errorf("left behind: %s", f)
		}
	}
	mustMaterialize(t, s, "b")

	// Nothing is left of the last model but an empty list.
	r = remove(t, s, "b")
	if r.Files != 5 || r.Freed < weightSize || r.Shared != nil {
		t.Errorf("%+v", r)
	}
	if left := files(t, s); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if data, err := os.ReadFile(filepath.Join(s.dir, "models.json")); err != nil || string(data) != "{\n  \"models\": []\n}" {
		t.Errorf("models.json: %q, %v", data, err)
	}
	pull(t, s, a, "a")
	mustMaterialize(t, s, "a")
}

func TestRemovePinned(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := pull(t, s, newModel(t, `{}`), "x")
	if _, err := s.Remove(t.Context(), "ai/x@"+digest.FromString("other").String(), nil); !errors.Is(err, bundle.ErrNotFound) || !strings.Contains(err.Error(), "is "+m.ID.String()+" now") {
		t.Errorf("got %v", err)
	}
	remove(t, s, "ai/x@"+m.ID.String())
}

// Whatever stands in models.json: what anything there names stays, and nothing
// outside the store is touched.
func TestRemoveHostile(t *testing.T) {
	t.Parallel()
	for name, entries := range map[string]string{
		"an entry that does not parse": `{"id":5,"tags":"x","files":["$W"]}`,
		"an unknown field":             `{"id":"$O","tags":null,"files":null,"parts":{"weights":"$W"}}`,
		"null files, only a manifest":  `{"id":"$B","tags":["b"],"files":null}`,
		"files that lie":               `{"id":"$B","tags":["b"],"files":["../../canary","sha256:../../../canary"]}`,
		"the id without a hash":        `{"id":"../../canary","tags":["b"],"files":["$W"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			canary := filepath.Join(filepath.Dir(s.dir), "canary")
			if err := os.WriteFile(canary, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			a := newModel(t, `{"model_type":"a"}`)
			m, other := pull(t, s, a, "a"), pull(t, s, newModel(t, `{"model_type":"b"}`), "b")
			weight := "sha256:" + filepath.Base(weightBlob(s, m))
			entries := strings.NewReplacer("$W", weight, "$O", digest.FromString("o").String(), "$B", other.ID.String()).Replace(entries)
			mine := `{"id":"` + m.ID.String() + `","tags":["a","../y"],"files":["` + weight + `","../../canary"]}`
			for _, list := range []string{mine + "," + entries, entries + "," + mine} {
				pull(t, s, a, "a") // whole again
				if err := os.WriteFile(filepath.Join(s.dir, "models.json"), []byte(`{"models":[`+list+`],"v":1}`), 0o600); err != nil {
					t.Fatal(err)
				}
				if r := remove(t, s, "a"); !slices.Equal(r.Left, []string{"../y"}) {
					t.Errorf("%+v", r)
				}
				remove(t, s, m.ID.String())
				if data, err := os.ReadFile(filepath.Join(s.dir, "models.json")); err != nil || string(data) != `{"models":[`+entries+`],"v":1}` {
					t.Errorf("models.json: %s, %v", data, err)
				}
				if _, err := os.Stat(weightBlob(s, m)); err != nil {
					t.Error(err)
				}
			}
			if strings.Contains(entries, `"b"`) {
				remove(t, s, "b")
			}
			if _, err := os.Stat(canary); err != nil {
				t.Error(err)
			}
		})
	}
}

// An entry that is there twice is one model; long lists are no trouble.
func TestRemoveTwins(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := pull(t, s, newModel(t, `{}`), "a")
	var many strings.Builder
	for i := range 5_000 {
		fmt.Fprintf(&many, `"sha256:%064x",`, i)
	}
	id := m.ID.String()
	list := `{"models":[{"id":"` + id + `","tags":["a"],"files":[` + many.String() + `null]},{"id":"` + id + `","tags":["b"]},{"id":"sha256:` +
		strings.Repeat("f", 64) + `","tags":null,"files":[` + many.String() + `""]}]}`
	if err := os.WriteFile(filepath.Join(s.dir, "models.json"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	if u, err := s.Usage(); err != nil || u.Models[2].Missing != 5_000 {
		t.Errorf("%d models, %v", len(u.Models), err)
	}
	if r := remove(t, s, "a"); !slices.Equal(r.Left, []string{"docker.io/ai/b:latest"}) {
		t.Errorf("%+v", r)
	}
	if r := remove(t, s, "b"); r.Files != 5 || len(r.Shared) > 0 {
		t.Errorf("%d files, shared %v", r.Files, r.Shared)
	}
}

// Models that cannot be read can be removed, and a link in the store is no way
// out of it.
func TestRemoveDamaged(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := pull(t, s, newModel(t, `{}`), "x")
	outside := t.TempDir()
	kept := filepath.Join(outside, m.ID.Encoded(), "kept")
	err := errors.Join(
		os.Remove(s.manifestPath(m.ID)), os.Remove(weightBlob(s, m)), os.Symlink(kept, weightBlob(s, m)),
		os.MkdirAll(kept, 0o755), os.Mkdir(filepath.Join(s.dir, "bundles"), 0o755), os.Symlink(outside, filepath.Join(s.dir, "bundles", "sha256")),
	)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Find("x")
	if damaged, ok := errors.AsType[*DamagedError](err); !ok || !strings.Contains(damaged.Error(), "its manifest or config is damaged in the store: manifest ") {
		t.Errorf("got %v", err)
	}
	remove(t, s, "x")
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("outside the store: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(s.dir, "blobs", "sha256")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
