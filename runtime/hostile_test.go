// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/verify"
)

// TestStagingLeadsOut (HOSTILE T7): what lies in staging already may lead out of
// it. Nothing is written there, and the install is right.
func TestStagingLeadsOut(t *testing.T) {
	t.Parallel()
	for _, link := range []string{"lib", "lib/python3.12", "lib/python3.12/os.py", "bin", bundle.MetadataDir, ""} {
		t.Run(link, func(t *testing.T) {
			t.Parallel()
			h, src, outside := home(t), artifactOf(t, "1"), t.TempDir()
			canary := filepath.Join(outside, "os.py")
			id := mustInstall(t, home(t), src).Version.ID
			if err := h.prepare(); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(h.store(stagingDir), id, filepath.FromSlash(link))
			if err := errors.Join(os.WriteFile(canary, []byte("alive"), 0o600), os.MkdirAll(filepath.Dir(name), 0o700), os.Symlink(outside, name)); err != nil {
				t.Fatal(err)
			}
			if _, err := tryInstall(t, h, src); err == nil {
				wantActive(t, h, "1")
			} else {
				t.Log(err)
			}
			left, err := os.ReadDir(outside)
			if data, rerr := os.ReadFile(canary); err != nil || len(left) != 1 || rerr != nil || string(data) != "alive" {
				t.Errorf("outside: %v, %q, %v, %v", left, data, err, rerr)
			}
		})
	}
}

// TestMarkerAlone (HOSTILE D9): a marker without its tree, or a version that is a
// link, speaks for nothing.
func TestMarkerAlone(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(dir string) error{
		"no tree":           func(dir string) error { return os.Remove(filepath.Join(dir, bundle.TreePath)) },
		"no marker":         func(dir string) error { return os.Remove(filepath.Join(dir, markerPath)) },
		"empty marker":      func(dir string) error { return replaceFile(filepath.Join(dir, markerPath), "") },
		"marker of nothing": func(dir string) error { return replaceFile(filepath.Join(dir, markerPath), "{}") },
		"tree longer":       func(dir string) error { return appendTo(filepath.Join(dir, bundle.TreePath), "\n") },
		"nothing but marker": func(dir string) error {
			marker, err := os.ReadFile(filepath.Join(dir, markerPath))
			return errors.Join(err, os.RemoveAll(dir), os.MkdirAll(filepath.Join(dir, bundle.MetadataDir), 0o755), os.WriteFile(filepath.Join(dir, markerPath), marker, 0o444))
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h, src := home(t), artifactOf(t, "1")
			if err := change(mustInstall(t, h, src).Version.Dir); err != nil {
				t.Fatal(err)
			}
			if _, err := h.Active("env"); !errors.Is(err, verify.ErrDamaged) && !errors.Is(err, bundle.ErrNotFound) {
				t.Errorf("got %v", err)
			}
			mustInstall(t, h, src) // and it is mended
			wantActive(t, h, "1")
		})
	}
}

func replaceFile(name, text string) error {
	return errors.Join(os.Remove(name), os.WriteFile(name, []byte(text), 0o444))
}

func appendTo(name, text string) error {
	data, err := os.ReadFile(name)
	return errors.Join(err, replaceFile(name, string(data)+text))
}
