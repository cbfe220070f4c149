// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// judgeInputs lets pip and uv install from a wheelhouse by its lock alone, with
// no index and no network, and oras pull an archive of the same files.
func (s *stage) judgeInputs(t *testing.T) {
	t.Parallel()
	tools := filepath.Join(t.TempDir(), "tools")
	install := exec.CommandContext(t.Context(), "python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", tools, "pip>=26.3", "uv>=0.13.9,<0.14")
	if out, err := install.CombinedOutput(); err != nil {
		absent(t, "pip and uv cannot be installed: %v\n%s", err, out)
	}
	uv := filepath.Join(tools, "bin", "uv")
	python := s.unpackPython(t)

	house := s.fetch(t, s.platform, "--into")
	want := wheelsIn(t, house)
	pip := exec.CommandContext(t.Context(), python, "-B", "-m", "pip", "install", "--quiet", "--no-index", "--no-cache-dir",
		"--disable-pip-version-check", "--target", filepath.Join(house, "pip"), "-r", filepath.Join(house, "pylock.toml"))
	pip.Env = []string{"PYTHONPATH=" + tools}
	s.output(t, pip)
	sync := func(house string, args ...string) {
		cmd := exec.CommandContext(t.Context(), uv, append([]string{
			"pip", "sync", "--quiet", "--offline", "--no-cache", "--no-python-downloads", "--python", python,
			"--target", filepath.Join(house, "uv"), filepath.Join(house, "pylock.toml"),
		}, args...)...)
		cmd.Env = []string{"MACOSX_DEPLOYMENT_TARGET=15.0"} // else uv means macOS 13
		s.output(t, cmd)
	}
	sync(house)
	for _, installer := range []string{"pip", "uv"} {
		if diff := cmp.Diff(want, installed(t, filepath.Join(house, installer))); diff != "" {
			t.Errorf("%s (-wheels +installed):\n%s", installer, diff)
		}
	}
	t.Logf("pip and uv: %d wheels for %s installed by the lock", len(want), s.platform)

	const mac = "darwin/arm64"
	darwin := s.fetch(t, mac, "--into")
	sync(darwin, "--python-platform", "aarch64-apple-darwin")
	want = wheelsIn(t, darwin)
	if diff := cmp.Diff(want, installed(t, filepath.Join(darwin, "uv"))); diff != "" {
		t.Errorf("%s (-wheels +installed):\n%s", mac, diff)
	}
	t.Logf("uv: %d wheels for %s installed by the lock", len(want), mac)

	s.fetch(t, s.platform, "--to")
	pulled := t.TempDir()
	s.tool(t, "oras", "pull", "--plain-http", "--output", pulled, s.registry+"/team/inputs:latest")
	files := readDir(t, filepath.Join(house, "wheels"))
	maps.Copy(files, readDir(t, filepath.Join(house, "interpreters")))
	if diff := cmp.Diff(files, readDir(t, pulled)); diff != "" {
		t.Errorf("oras pull differs from the wheelhouse (-want +got):\n%s", diff)
	}
	t.Logf("oras pull: %d inputs have the bytes of the wheelhouse", len(files))
}

// fetch makes a wheelhouse, or an archive in the registry, of the demo's
// recipe.
func (s *stage) fetch(t *testing.T, platform, how string) string {
	t.Helper()
	s.interpreter(t, platform)
	to := filepath.Join(t.TempDir(), "wheelhouse")
	if how == "--to" {
		to = "docker://" + s.registry + "/team/inputs:latest"
	}
	s.run(t, s.program("metalpack"), "fetch", filepath.Join(s.root, "internal", "demo", "recipe"),
		"--platform", platform, "--find-links", s.inputs, how, to)
	return to
}

// unpackPython returns the interpreter of the host's archive.
func (s *stage) unpackPython(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s.run(t, "tar", "-C", dir, "-xf", filepath.Join(s.inputs, "cpython-3.12.3-"+strings.ReplaceAll(s.platform, "/", "-")+".tar"))
	return filepath.Join(dir, "python", "bin", "python3.12")
}

// wheelsIn lists the wheels of a wheelhouse as name-version.
func wheelsIn(t *testing.T, house string) (out []string) {
	t.Helper()
	for _, name := range namesIn(t, filepath.Join(house, "wheels")) {
		parts := strings.Split(name, "-")
		out = append(out, plainName(parts[0]+"-"+parts[1]))
	}
	slices.Sort(out)
	return out
}

// installed lists what an installer wrote, as name-version.
func installed(t *testing.T, dir string) (out []string) {
	t.Helper()
	for _, name := range namesIn(t, dir) {
		if name, ok := strings.CutSuffix(name, ".dist-info"); ok {
			out = append(out, plainName(name))
		}
	}
	slices.Sort(out)
	return out
}

// plainName makes spellings of one name equal.
func plainName(name string) string {
	return strings.ToLower(strings.NewReplacer(".", "_", "-", "_").Replace(name))
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
