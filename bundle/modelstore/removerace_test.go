// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// A writer without a lock puts an older models.json back, some times or always.
func TestRemoveAgainstAnotherWriter(t *testing.T) {
	t.Parallel()
	for _, times := range []int{1, rewriteTries - 1, rewriteTries} {
		s := newStore(t)
		m := pull(t, s, newModel(t, `{}`), "x")
		path := filepath.Join(s.dir, "models.json")
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		left := times
		s.failpoint = func(step string) error {
			if step != "rewritten" || left == 0 {
				return nil
			}
			left--
			return os.WriteFile(path, old, 0o600)
		}
		_, err = s.Remove(t.Context(), "x", nil)
		if times < rewriteTries {
			if err != nil {
				t.Errorf("%d times: %v", times, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "another program keeps putting the entry of docker.io/ai/x:latest back; stop it and remove it again") {
			t.Errorf("got %v", err)
		}
		if notes, err := os.ReadDir(filepath.Join(s.state, removingDir)); err != nil || len(notes) > 0 {
			t.Errorf("%v, %v", notes, err)
		}
		if _, err := s.Materialize(t.Context(), m); err != nil {
			t.Errorf("the model that stayed: %v", err)
		}
	}
}

// On a full disk nothing can be written before something goes.
func TestRemoveOnFullDisk(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"noted", "rewritten"} {
		s := newStore(t)
		m := pull(t, s, newModel(t, `{"model_type":"a"}`), "a")
		pull(t, s, newModel(t, `{"model_type":"b"}`), "b")
		if m.Info.Files[1].Path != "config.json" {
			t.Fatal("not the file that is a's alone")
		}
		s.failpoint = fullUntilGone(s, step, m.Info.Files[1].Descriptor.Digest)
		var notes []string
		r, err := s.Remove(t.Context(), "a", func(e bundle.Event) { notes = append(notes, e.Reason) })
		if err != nil || r.Files != 2 || r.Freed == 0 {
			t.Errorf("%+v, %v", r, err)
		}
		if !slices.Equal(notes, []string{"the disk is full: the files of docker.io/ai/a:latest go before its entry"}) {
			t.Errorf("%q", notes)
		}
		mustMaterialize(t, s, "b")
		if u, err := s.Usage(); err != nil || u.Unreferenced.Files > 0 || len(u.Models) != 1 {
			t.Errorf("%+v, %v", u, err)
		}
	}
}

// fullUntilGone lets a step fail for want of room as long as a blob is there.
func fullUntilGone(s *Store, step string, d digest.Digest) func(string) error {
	return func(now string) error {
		if _, there := s.blobSize(d); there && now == step {
			return syscall.ENOSPC
		}
		return nil
	}
}

// What another program adds while blobs go is told, and can be mended.
func TestRemoveLoser(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	pull(t, s, newModel(t, `{"model_type":"a"}`), "a")
	b := newModel(t, `{"model_type":"b"}`)
	pull(t, s, b, "b")
	path := filepath.Join(s.dir, "models.json")
	both, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, s, "b")
	once := sync.OnceValue(func() error { return os.WriteFile(path, both, 0o600) })
	s.failpoint = func(step string) error {
		if step == "emptied" {
			return once()
		}
		return nil
	}
	var notes []string
	if _, err := s.Remove(t.Context(), "a", func(e bundle.Event) { notes = append(notes, e.Reason) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(notes, "docker.io/ai/b:latest was added meanwhile and has lost files: 'metalrun verify --repair docker.io/ai/b:latest' fetches them again") {
		t.Errorf("%q", notes)
	}
	pull(t, s, b, "b")
	mustMaterialize(t, s, "b")
}

// The environment of the program that is killed while it removes x.
const killStep = "METALPACK_TEST_KILL_STEP"

// TestKilledRemoval is no test but the program that TestRemoveKilled kills.
func TestKilledRemoval(t *testing.T) {
	step, at, ok := strings.Cut(os.Getenv(killStep), " ")
	if !ok {
		t.Skip("started by TestRemoveKilled")
	}
	s, err := Open(filepath.Join(at, "models"), filepath.Join(at, "state"))
	if err != nil {
		t.Fatal(err)
	}
	s.failpoint = func(now string) error {
		if now == step {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}
	remove(t, s, "x")
}

// Killed anywhere, the model is whole or not listed, other models are whole,
// and the next removal ends it.
func TestRemoveKilled(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"noted", "rewritten", "emptied"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			at := t.TempDir()
			s, err := Open(filepath.Join(at, "models"), filepath.Join(at, "state"))
			if err != nil {
				t.Fatal(err)
			}
			x := newModel(t, `{"model_type":"x"}`)
			m := pull(t, s, x, "x")
			pull(t, s, newModel(t, `{"model_type":"y"}`), "y")
			z := newModel(t, `{"model_type":"z"}`)
			pull(t, s, z, "z")
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledRemoval$")
			cmd.Env = append(os.Environ(), killStep+"="+step+" "+at)
			if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() != -1 {
				t.Fatalf("not killed: %v\n%s", err, out)
			}
			mustMaterialize(t, s, "y")
			if step == "noted" {
				mustMaterialize(t, s, "x")
				remove(t, s, "z") // takes the note away, and x stays
				mustMaterialize(t, s, "x")
				remove(t, s, "x")
			} else {
				if _, err := s.Find("x"); !errors.Is(err, bundle.ErrNotFound) {
					t.Errorf("half of it is listed: %v", err)
				}
				remove(t, s, "z")
			}
			for _, f := range files(t, s) {
				if strings.Contains(f, m.ID.Encoded()) || strings.Contains(f, removingDir) {
					t.Errorf("left behind: %s", f)
				}
			}
			if u, err := s.Usage(); err != nil || u.Unreferenced.Files > 0 || len(u.Models) != 1 {
				t.Errorf("%+v, %v", u, err)
			}
			pull(t, s, x, "x")
			mustMaterialize(t, s, "x")
		})
	}
}

// Removals and pulls at once: whoever is last, the store is sound.
func TestRemoveAndPullAtOnce(t *testing.T) {
	t.Parallel()
	dir, state := filepath.Join(t.TempDir(), "m"), filepath.Join(t.TempDir(), "s")
	open := func() *Store {
		s, err := Open(dir, state)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b := newModel(t, `{"model_type":"a"}`), newModel(t, `{"model_type":"b"}`)
	pull(t, open(), a, "a")
	pull(t, open(), b, "b")
	var wg sync.WaitGroup
	for i := range 8 {
		s := open()
		wg.Go(func() {
			if i%2 == 0 {
				if _, err := s.Remove(t.Context(), "a", nil); err != nil && !errors.Is(err, bundle.ErrNotFound) {
					t.Error(err)
				}
			} else if _, err := s.Pull(t.Context(), a, a.Root(), "a", nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := open()
	mustMaterialize(t, s, "b")
	if _, err := s.Find("a"); err == nil {
		mustMaterialize(t, s, "a")
	}
}

// Who has to wait is told, and goes on when the other is done.
func TestRemoveWaits(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	pull(t, s, newModel(t, `{}`), "x")
	unlock, err := s.lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	if _, err := s.Remove(t.Context(), "x", func(e bundle.Event) {
		told = append(told, e.Reason)
		if err := unlock(); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(told, []string{"another metalrun is changing the store; waiting for it"}) {
		t.Errorf("%q", told)
	}
}
