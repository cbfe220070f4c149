// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// surroundings are what a build must not depend on.
type surroundings struct {
	name     string
	umask    string
	temp     string // directory in which TMPDIR is made; "" = beside the build
	backward bool   // the directory of wheels is filled from the last to the first
	env      []string
}

// input is one row of the result of metalpack fetch.
type input struct {
	File string `json:"file"`
	Path string `json:"path"`
}

// judgeReproduce builds the environment twice more, with nothing shared but
// the bytes of the inputs, and wants the digest of the first build. No outside
// program judges here: the digest does.
func (s *stage) judgeReproduce(t *testing.T) {
	t.Parallel()
	const memory = "/dev/shm" // another file system, where there is one
	for _, around := range []surroundings{
		{"west", "0077", "", false, []string{"GOMAXPROCS=1", "TZ=America/Los_Angeles", "LANG=C", "LC_ALL=C", "SOURCE_DATE_EPOCH=1"}},
		{"a much longer name in the east", "0002", memory, true, []string{"GOMAXPROCS=7", "TZ=Asia/Tokyo", "LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8", "SOURCE_DATE_EPOCH=1700000000"}},
	} {
		t.Run(around.name, func(t *testing.T) {
			t.Parallel()
			if _, got := s.build(t, around); got != s.envIndex {
				t.Errorf("index %s, the first build had %s", got, s.envIndex)
			}
		})
	}
}

// build copies the recipe, puts the inputs beside it, builds it there with an
// empty cache into a layout, tag latest, and returns its place and the digest.
func (s *stage) build(t *testing.T, around surroundings) (layout, digest string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), around.name)
	recipe := filepath.Join(dir, "recipe")
	if err := os.CopyFS(recipe, os.DirFS(s.recipe)); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(recipe, "wheels"), s.files, around.backward)
	temp := t.TempDir()
	if other, err := os.MkdirTemp(around.temp, "metalpack-interop-"); err == nil { //nolint:usetesting // on another file system
		temp = other
		t.Cleanup(func() { _ = os.RemoveAll(other) })
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask "$1" && shift && exec "$@"`, "sh", around.umask,
		s.program("metalpack"), "build", "./recipe", "--platform", s.platform, "--offline", "--cache", "cache", "-o", "oci:out:latest")
	cmd.Dir = dir
	cmd.Env = append(slices.Clone(around.env), "HOME="+filepath.Join(dir, "home"), "TMPDIR="+temp)
	digest = digestOf(t, s.output(t, cmd))
	if built, err := os.ReadDir(filepath.Join(dir, "cache", "build")); err != nil || len(built) == 0 {
		t.Errorf("no layers in the build's own cache, so none were made: %v", err)
	}
	t.Logf("index %s", digest)
	return filepath.Join(dir, "out"), digest
}

// fill makes a directory of inputs whose entries lie in one order or the
// other.
func fill(t *testing.T, dir string, inputs []input, backward bool) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	inputs = slices.Clone(inputs)
	if backward {
		slices.Reverse(inputs)
	}
	for _, in := range inputs {
		if err := os.Symlink(in.Path, filepath.Join(dir, in.File)); err != nil {
			t.Fatal(err)
		}
	}
}
