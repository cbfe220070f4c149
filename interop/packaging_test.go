// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// judged is a target: what a lock's name says.
type judged struct{ platform, key, floor string }

var judgedTargets = []judged{{"darwin/arm64", "os", "15.0"}, {"linux/amd64", "glibc", "2.35"}, {"linux/arm64", "glibc", "2.35"}}

// TestLocks lets packaging, pip and uv judge how locks are read and made. It
// needs none of the artifacts.
func TestLocks(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{root: root, dir: t.TempDir(), environ: append(os.Environ(), "UV_PYTHON_DOWNLOADS=never")}
	python := s.venv(t, "packaging==26.4", "pip==26.3", "uv>=0.13.9,<0.14")
	s.environ = append(s.environ, "PATH="+filepath.Dir(python)+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Run("shipped", func(t *testing.T) { t.Parallel(); s.judgeShipped(t, python) })
	t.Run("selection", func(t *testing.T) { t.Parallel(); s.judgeSelection(t, python) })
	t.Run("requirements", func(t *testing.T) { t.Parallel(); s.judgeRequirements(t, filepath.Join(filepath.Dir(python), "uv")) })
	t.Run("git", func(t *testing.T) { t.Parallel(); s.judgeGit(t) })
}

// venv installs packages into a virtual environment and returns its Python.
func (s *stage) venv(t *testing.T, packages ...string) string {
	t.Helper()
	dir := filepath.Join(s.dir, "venv")
	python := filepath.Join(dir, "bin", "python")
	for _, args := range [][]string{
		{"python3", "-m", "venv", dir},
		append([]string{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, packages...),
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			absent(t, "%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	return python
}

// missingFile is a row of the list of files that fetch did not find.
var missingFile = regexp.MustCompile(`(?m)^  (\S+) \S+ \((\S+)\) sha256:[0-9a-f]{64}$`)

// selected is what we take from the lock of a recipe's target: with nothing at
// hand, fetch names every file that it wants.
func (s *stage) selected(t *testing.T, recipe, platform string) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.program("metalpack"), "--json", "--cache", filepath.Join(t.TempDir(), "empty"), "fetch", recipe, "--platform", platform, "--offline")
	out, err := cmd.Output()
	if _, failed := errors.AsType[*exec.ExitError](err); !failed {
		t.Fatalf("fetch %s without any file: %v\n%s", recipe, err, out)
	}
	var said struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := make(map[string]string)
	for _, m := range missingFile.FindAllStringSubmatch(said.Error, -1) {
		if m[1] != "cpython" {
			files[m[1]] = m[2]
		}
	}
	if len(files) == 0 {
		t.Fatal(said.Error)
	}
	return files
}

// chosen is what a library of Python's takes.
func (s *stage) chosen(t *testing.T, python string, args ...string) map[string]string {
	t.Helper()
	var files map[string]string
	if err := json.Unmarshal([]byte(s.run(t, python, append([]string{filepath.Join("testdata", "selection.py")}, args...)...)), &files); err != nil {
		t.Fatal(err)
	}
	return files
}

// judgeShipped: packaging selects the same files from the locks that we ship.
func (s *stage) judgeShipped(t *testing.T, python string) {
	t.Helper()
	locks, err := filepath.Glob(filepath.Join(s.root, "recipes", "*", "pylock.*.toml"))
	if err != nil || len(locks) == 0 {
		t.Fatal("no locks: ", err)
	}
	for _, lock := range locks {
		// pylock.darwin-arm64-15_0.toml
		parts := strings.Split(strings.Split(filepath.Base(lock), ".")[1], "-")
		platform, floor := parts[0]+"/"+parts[1], strings.ReplaceAll(parts[2], "_", ".")
		got := s.selected(t, filepath.Dir(lock), platform)
		if diff := cmp.Diff(s.chosen(t, python, "packaging", lock, platform, floor), got); diff != "" {
			t.Errorf("%s: files differ (-packaging +ours):\n%s", lock, diff)
		}
		t.Logf("%s: %d files", filepath.Base(lock), len(got))
	}
}

// demoRecipe writes a recipe for all targets, whose locks have one name each.
func demoRecipe(t *testing.T, requirements string) string {
	t.Helper()
	dir := t.TempDir()
	var yaml strings.Builder
	yaml.WriteString("version: 1\nname: demo\nrelease: '1'\nrequirements: requirements.in\ntargets:\n")
	for _, to := range judgedTargets {
		fmt.Fprintf(&yaml, "  - {platform: %s, %s: '%s', lock: %s, interpreter: {version: 3.12.3, file: python.tar, sha256: %064d}}\n",
			to.platform, to.key, to.floor, lockName(to), 0)
	}
	write(t, filepath.Join(dir, "recipe.yaml"), yaml.String())
	write(t, filepath.Join(dir, "requirements.in"), requirements)
	return dir
}

func lockName(to judged) string {
	return "pylock." + strings.ReplaceAll(to.platform, "/", "-") + ".toml"
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// judgeSelection: of all wheels of real packages, as uv locks them for every
// platform at once, packaging and pip take those that we take.
func (s *stage) judgeSelection(t *testing.T, python string) {
	t.Helper()
	recipe := demoRecipe(t, "")
	lock := filepath.Join(recipe, "pylock.toml")
	s.run(t, filepath.Join(filepath.Dir(python), "uv"), "pip", "compile", "--quiet", "--universal", "--no-deps", "--no-header", "--python-version", "3.12",
		"--format", "pylock.toml", "--output-file", lock, filepath.Join("testdata", "selection.in"))
	text, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, to := range judgedTargets {
		write(t, filepath.Join(recipe, lockName(to)), string(text))
		got := s.selected(t, recipe, to.platform)
		if diff := cmp.Diff(s.chosen(t, python, "packaging", lock, to.platform, to.floor), got); diff != "" {
			t.Errorf("%s: files differ (-packaging +ours):\n%s", to.platform, diff)
		}
		if diff := cmp.Diff(s.chosen(t, python, "pip", lock, to.platform, to.floor, dir), got); diff != "" {
			t.Errorf("%s: files differ (-pip +ours):\n%s", to.platform, diff)
		}
		t.Logf("%s: %d files of %d", to.platform, len(got), strings.Count(string(text), ".whl\""))
	}
}

// judgeRequirements: what uv writes with hashes for the same requirements
// becomes the lock that we resolve.
func (s *stage) judgeRequirements(t *testing.T, uv string) {
	t.Helper()
	recipe := demoRecipe(t, "requests\ncffi\n")
	cache := filepath.Join(t.TempDir(), "cache")
	s.run(t, s.program("metalpack"), "--cache", cache, "lock", recipe, "--platform", "linux/amd64")
	hashed := filepath.Join(recipe, "requirements.txt")
	s.run(t, uv, "pip", "compile", "--quiet", "--generate-hashes", "--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_35",
		"--output-file", hashed, filepath.Join(recipe, "requirements.in"))
	s.run(t, s.program("metalpack"), "--cache", cache, "lock", recipe, "--platform", "linux/amd64", "--from", hashed, "--check")
}

// judgeGit: real git and real uv make the same wheel of a commit twice, and no
// target needs another.
func (s *stage) judgeGit(t *testing.T) {
	t.Helper()
	need(t, "git")
	project := t.TempDir()
	write(t, filepath.Join(project, "pyproject.toml"), "[build-system]\nrequires = ['setuptools>=77']\nbuild-backend = 'setuptools.build_meta'\n"+
		"[project]\nname = 'demo-git'\nversion = '0.3'\ndependencies = ['idna']\n[tool.setuptools]\npackages = ['demo_git']\n")
	write(t, filepath.Join(project, "demo_git", "__init__.py"), "")
	for _, args := range [][]string{{"init", "--quiet", "."}, {"add", "."}, {"-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "first"}} {
		s.run(t, "git", append([]string{"-C", project}, args...)...)
	}
	commit := strings.TrimSpace(s.run(t, "git", "-C", project, "rev-parse", "HEAD"))
	recipe := demoRecipe(t, "demo_git @ git+file://"+project+"@"+commit+"\n")
	cache := filepath.Join(t.TempDir(), "cache")
	s.run(t, s.program("metalpack"), "--cache", cache, "lock", recipe)
	wheel := filepath.Join(recipe, "wheels", "demo_git-0.3-py3-none-any.whl")
	for _, to := range judgedTargets {
		if got := s.selected(t, withoutWheels(t, recipe), to.platform); got["demo-git"] != filepath.Base(wheel) || got["idna"] == "" {
			t.Errorf("%s: %q", to.platform, got)
		}
	}
	if err := os.Remove(wheel); err != nil {
		t.Fatal(err)
	}
	s.run(t, s.program("metalpack"), "--cache", cache, "lock", recipe, "--check")
}

// withoutWheels copies a recipe and its locks.
func withoutWheels(t *testing.T, recipe string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(recipe)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "wheels")); err != nil {
		t.Fatal(err)
	}
	return dir
}
