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

// D9: a marker speaks for its own version and for the tree that it names, and for
// no other, however well the files around it agree.
func TestMarkerOfAnother(t *testing.T) {
	t.Parallel()
	for what, files := range map[string][]string{
		"the tree":             {bundle.TreePath},
		"the tree and marker":  {bundle.TreePath, markerPath},
		"all of another":       {bundle.TreePath, markerPath, bundle.EnvironmentPath},
		"the environment only": {bundle.EnvironmentPath},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := home(t)
			old := mustInstall(t, h, artifactOf(t, "1")).Version
			v := mustInstall(t, h, artifactOf(t, "2")).Version
			for _, f := range files {
				data, err := os.ReadFile(filepath.Join(old.Dir, f))
				if err != nil {
					t.Fatal(err)
				}
				to := filepath.Join(v.Dir, f)
				if err := errors.Join(os.Remove(to), os.WriteFile(to, data, 0o444)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := h.Active("env"); !errors.Is(err, verify.ErrDamaged) {
				t.Errorf("got %v", err)
			}
		})
	}
}
