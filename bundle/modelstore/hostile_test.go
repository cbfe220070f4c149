// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/metalpack/metalpack/bundle"
)

// HOSTILE D6: whatever stands in models.json, nothing crashes and the sound
// entries stay.
func TestHostileIndex(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	a := newModel(t, `{}`)
	m := pull(t, s, a, "x")
	path := filepath.Join(s.dir, "models.json")
	if err := os.WriteFile(path, []byte(`{"models":[null,7,{"id":"sha256:../../x","tags":["../y"]},{"id":"`+m.ID.String()+`","tags":null,"files":null},{"tags":["x"],"id":"sha256:`+strings.Repeat("0", 64)+`"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil || len(list) != 5 {
		t.Fatalf("%d, %v", len(list), err)
	}
	for i, m := range list {
		if (m.Problem == nil) != (i == 3) {
			t.Errorf("%d: %v", i, m.Problem)
		}
		_ = Names(m)
	}
	if _, err := s.Find("x"); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("an entry without a manifest: %v", err)
	}
	if err := os.WriteFile(path, []byte(`{"models":[`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Pull(t.Context(), a, a.Root(), "x", nil); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("a damaged models.json was written to: %v", err)
	}
}

// HOSTILE D6: a list that would take hours to go through is damaged too.
func TestLongIndex(t *testing.T) {
	t.Parallel()
	list := func(n int, entry string) []byte {
		return []byte(`{"models":[` + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + `]}`)
	}
	id := "sha256:" + strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"models": {list(maxModels+1, `{"tags":["x"]}`), "models.json: 2049 models, more than 2048"},
		"twins":  {list(maxTwins+1, `{"id":"`+id+`"}`), `models.json: more than 8 entries of "` + id},
		"bytes":  {list(maxIndex/10+1, `{"id":""}`), "models.json: more than 16777216 bytes"},
		"values": {list(maxIndex/8, `[[]]`), "more than 524288 values"},
	} {
		if _, err := parseIndex(c.data); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	x, err := parseIndex(list(maxModels, `{"tags":["x"],"more":"`+strings.Repeat("x", 5000)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	data, err := x.untag("docker.io/ai/x:latest") // of 10 MB, in one go
	if err != nil || strings.Contains(string(data), `["x"]`) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// HOSTILE D7.
func TestUntrustedStore(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	root := filepath.Join(t.TempDir(), "models")
	if err := os.Symlink(disk, root); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root, t.TempDir()); err != nil {
		t.Errorf("the root may be a symlink: %v", err)
	}
	away := filepath.Join(t.TempDir(), "models")
	if err := os.Symlink("/nonexistent/disk", away); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(away, t.TempDir()); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "/nonexistent/disk, which is not there; is its disk mounted?") {
		t.Errorf("got %v", err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(disk, "blobs")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root, t.TempDir()); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "symlink inside") {
		t.Errorf("got %v", err)
	}
	shared := t.TempDir()
	if err := os.Chmod(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(shared, t.TempDir()); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "others can write") {
		t.Errorf("got %v", err)
	}
}

func TestTwoPullsAtOnce(t *testing.T) {
	t.Parallel()
	dir, state := filepath.Join(t.TempDir(), "m"), filepath.Join(t.TempDir(), "s")
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		s, err := Open(dir, state)
		if err != nil {
			t.Fatal(err)
		}
		a := newModel(t, `{"model_type":"`+name+`"}`)
		wg.Go(func() {
			if _, err := s.Pull(t.Context(), a, a.Root(), name, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s, err := Open(dir, state)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := s.List(); err != nil || len(list) != 4 {
		t.Errorf("%d models, %v", len(list), err)
	}
}

func TestDir(t *testing.T) {
	t.Parallel()
	for _, tt := range [][2]string{{"", "/h/.docker/models"}, {` "/big disk/m" `, "/big disk/m"}, {"/m", "/m"}} {
		in, want := tt[0], tt[1]
		got, err := Dir(func(k string) string { return map[string]string{"HOME": "/h", "MODELS_PATH": in}[k] })
		if err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}
