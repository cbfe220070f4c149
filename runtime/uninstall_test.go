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

func TestUninstall(t *testing.T) {
	t.Parallel()
	h := home(t)
	mustInstall(t, h, artifactOf(t, "1"))
	if names, err := h.Environments(); err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	half := filepath.Join(h.StagingDir("0000000000000000"), "lib")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := h.Uninstall(t.Context(), "env", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(h.Dir, "env")); err == nil {
		t.Error("the directory is still there")
	}
	if left := staged(t, h); len(left) != 0 {
		t.Errorf("staging holds %v", left)
	}
	if err := h.Uninstall(t.Context(), "env", nil); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// What is served from stays until nobody does; installing goes on.
func TestUninstallInUse(t *testing.T) {
	t.Parallel()
	h := home(t)
	if _, err := h.Use(t.Context(), "env"); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	mustInstall(t, h, artifactOf(t, "1"))
	var releases []func() error
	for range 2 {
		release, err := h.Use(t.Context(), "env")
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	mustInstall(t, h, artifactOf(t, "2"))
	for _, release := range releases {
		if err := h.Uninstall(t.Context(), "env", nil); !errors.Is(err, ErrInUse) {
			t.Errorf("got %v", err)
		}
		wantActive(t, h, "2")
		if err := release(); err != nil {
			t.Error(err)
		}
	}
	if err := h.Uninstall(t.Context(), "env", nil); err != nil {
		t.Error(err)
	}
}

// A pointer that cannot be removed keeps all of the environment.
func TestUninstallStopsAtFirstError(t *testing.T) {
	t.Parallel()
	h := home(t)
	mustInstall(t, h, artifactOf(t, "1"))
	state := h.store(stateFile)
	if err := errors.Join(os.Remove(state), os.WriteFile(state, []byte(`{"version":2}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := h.Uninstall(t.Context(), "env", nil); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if ids, err := h.versionIDs("env"); err != nil || len(ids) != 1 {
		t.Errorf("%v, %v: want the version left", ids, err)
	}
}

// state.json remembers what was before and no more: its loss keeps nobody from
// anything.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{"cut": `{"vers`, "empty": "", "other shape": `[]`} {
		h := home(t)
		mustInstall(t, h, artifactOf(t, "1"))
		if err := os.WriteFile(h.store(stateFile), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := h.Status(); err != nil || len(all) != 1 || all[0].Active == nil {
			t.Errorf("%s: %+v, %v", name, all, err)
		}
		mustInstall(t, h, artifactOf(t, "2"))
		wantActive(t, h, "2")
		if err := os.WriteFile(h.store(stateFile), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.Uninstall(t.Context(), "env", nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A version that lost what it says about itself is damaged, not gone, and what
// is left of its marker tells where it came from.
func TestLostRecords(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{bundle.EnvironmentPath, bundle.TreePath, markerPath} {
		h, src := home(t), artifactOf(t, "1")
		v := mustInstall(t, h, src).Version
		if err := os.Remove(filepath.Join(v.Dir, lost)); err != nil {
			t.Fatal(err)
		}
		if names, err := h.Environments(); err != nil || len(names) != 1 {
			t.Errorf("%s: %v, %v", lost, names, err)
		}
		if _, err := h.Active("env"); !errors.Is(err, verify.ErrDamaged) {
			t.Errorf("%s: %v", lost, err)
		}
		ref, manifest, err := h.Origin("env")
		if told := ref == "example.com/org/env" && manifest == v.ManifestDigest && err == nil; told == (lost == markerPath) {
			t.Errorf("%s: %q %q %v", lost, ref, manifest, err)
		}
		mustInstall(t, h, src)
		wantActive(t, h, "1")
		if src.opens["interpreter"] != 1 {
			t.Errorf("%s: fetched again: %v", lost, src.opens)
		}
	}
}
