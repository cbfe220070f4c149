// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

// stage leaves an unfinished install of an environment, of one that nobody can
// tell if name is "".
func stage(t *testing.T, h *Home, id, name string) {
	t.Helper()
	files := map[string]string{"lib/a": "half"}
	if name != "" {
		env := &bundle.Environment{
			Version: 1, Name: name, Release: "1", Platform: bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.35"},
			Interpreter: bundle.Interpreter{Version: "3.12.3"},
		}
		data, err := env.Encode()
		if err != nil {
			t.Fatal(err)
		}
		files[bundle.EnvironmentPath] = string(data)
	}
	for p, data := range files {
		file := filepath.Join(h.StagingDir(id), filepath.FromSlash(p))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(data), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// What an unfinished install of one environment has fetched outlives installs
// and uninstalls of others.
func TestStagingOfOthers(t *testing.T) {
	t.Parallel()
	const of, mine, nobodys = "00000000000000aa", "00000000000000bb", "00000000000000cc"
	for what, do := range map[string]func(h *Home) error{
		"install":   func(h *Home) error { _, err := tryInstall(t, h, artifactOf(t, "2")); return err },
		"uninstall": func(h *Home) error { return h.Uninstall(t.Context(), "env", nil) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := home(t)
			mustInstall(t, h, artifactOf(t, "1"))
			stage(t, h, of, "other")
			stage(t, h, mine, "env")
			stage(t, h, nobodys, "")
			if names, err := h.Unfinished(); err != nil || !cmp.Equal(names, []string{"other", "env"}) {
				t.Errorf("unfinished: %v, %v", names, err)
			}
			if err := do(h); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{of}, staged(t, h)); diff != "" {
				t.Error(diff)
			}
			if err := h.Uninstall(t.Context(), "other", nil); err != nil {
				t.Error(err)
			}
			if left := staged(t, h); len(left) != 0 {
				t.Errorf("staging holds %v", left)
			}
			if err := h.Uninstall(t.Context(), "other", nil); !errors.Is(err, bundle.ErrNotFound) {
				t.Errorf("got %v", err)
			}
		})
	}
}
