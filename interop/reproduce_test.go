// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// surroundings are what a build must not depend on.
type surroundings struct {
	name  string
	umask string
	env   []string
}

// judgeReproduce builds the environment twice more, with nothing shared but
// the downloaded inputs, and wants the digest of the first build. No outside
// program judges here: the digest does.
func (s *stage) judgeReproduce(t *testing.T) {
	t.Parallel()
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	inputs := filepath.Join(user, "metalpack", "inputs")
	for _, around := range []surroundings{
		{"west", "0077", []string{"GOMAXPROCS=1", "TZ=America/Los_Angeles", "LANG=C", "LC_ALL=C", "SOURCE_DATE_EPOCH=1"}},
		{"a much longer name in the east", "0002", []string{"GOMAXPROCS=7", "TZ=Asia/Tokyo", "LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8", "SOURCE_DATE_EPOCH=1700000000"}},
	} {
		t.Run(around.name, func(t *testing.T) {
			t.Parallel()
			if got := s.build(t, inputs, around); got != s.envIndex {
				t.Errorf("index %s, the first build had %s", got, s.envIndex)
			}
		})
	}
}

// build copies the recipe, builds it there with an empty cache of layers, and
// returns the digest.
func (s *stage) build(t *testing.T, inputs string, around surroundings) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), around.name)
	if err := os.CopyFS(filepath.Join(dir, "recipe"), os.DirFS(filepath.Join(s.root, "internal", "demo", "recipe"))); err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(dir, "cache")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(inputs, filepath.Join(cache, "inputs")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask "$1" && shift && exec "$@"`, "sh", around.umask,
		s.program("metalpack"), "build", "./recipe", "--platform", s.platform, "--offline",
		"--find-links", s.inputs, "--cache", "cache", "-o", "oci:out:latest")
	cmd.Dir, cmd.Env = dir, around.env
	digest := digestOf(t, s.output(t, cmd))
	if built, err := os.ReadDir(filepath.Join(cache, "build")); err != nil || len(built) == 0 {
		t.Errorf("no layers in the build's own cache, so none were made: %v", err)
	}
	t.Logf("index %s", digest)
	return digest
}
