// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	recipeDir  = "recipes/testdata/vllm-metal-standin" // below the repository
	lockFile   = "recipes/vllm-metal/pylock.darwin-arm64-15_0.toml"
	baseRecipe = "recipes/vllm-metal/recipe.yaml"
)

// dropped is the file whose loss changes one small package.
const dropped = "lib/python3.12/site-packages/typing_extensions.py"

// compressions are the levels as a recipe says them.
var compressions = map[string]string{
	"fast":      "{codecs: [zstd], zstd: fast}",
	"release":   "{codecs: [zstd], zstd: release}",
	"fast+gzip": "{codecs: [gzip, zstd], zstd: fast}",
}

// stage is what both sides read.
type stage struct {
	dir          string // temporary
	program      string // ours
	inputs       string // the user's cache of inputs
	standins     string // directory with the interpreter and the two stand-in wheels
	wheelhouse   string // all wheels under their names
	requirements string // file that pins them
	recipes      map[string]string
}

// newStage finds the wheels and writes the recipes.
func newStage(ctx context.Context, root string) (s *stage, err error) {
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	for _, tool := range []string{"uv", "tar", "gzip", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is not on PATH: the peer needs it (python3 -m pip install uv brings uv): %w", tool, err)
		}
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	s = &stage{program: filepath.Join(root, "bin", "metalpack"), inputs: filepath.Join(user, "metalpack", "inputs"), recipes: map[string]string{}}
	if _, err := os.Stat(s.program); err != nil {
		return nil, fmt.Errorf("run make build first: %w", err)
	}
	// Beside the cache: on one file system uv links, and so do we.
	if err := os.MkdirAll(filepath.Dir(s.inputs), 0o755); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp(filepath.Dir(s.inputs), "bench-"); err != nil {
		return nil, err
	}
	if err := errors.Join(s.makeStandins(ctx, root), s.makeWheelhouse(root), s.makeRecipes(root)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

// makeStandins makes the inputs that no index has.
func (s *stage) makeStandins(ctx context.Context, root string) error {
	s.standins = filepath.Join(s.dir, "standins")
	if err := os.Mkdir(s.standins, 0o755); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"interpreter", "-platform", "darwin/arm64", "-o", filepath.Join(s.standins, "cpython-3.12.3-darwin-arm64.tar")},
		{"standin", "-o", s.standins},
	} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"run", "./internal/devtool"}, args...)...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
		}
	}
	return nil
}

// lockedWheel finds the file name and sha256 of each wheel in our lock.
var lockedWheel = regexp.MustCompile(`path = "wheels/([^"]+\.whl)".*sha256 = "([0-9a-f]{64})"`)

// makeWheelhouse gives the wheels of the cache their names, for uv, and reads
// each once, so that nobody waits for the disk.
func (s *stage) makeWheelhouse(root string) error {
	s.wheelhouse, s.requirements = filepath.Join(s.dir, "wheelhouse"), filepath.Join(s.dir, "requirements.txt")
	if err := os.Mkdir(s.wheelhouse, 0o755); err != nil {
		return err
	}
	lock, err := os.ReadFile(filepath.Join(root, lockFile))
	if err != nil {
		return err
	}
	files := map[string]string{}
	for _, m := range lockedWheel.FindAllStringSubmatch(string(lock), -1) {
		files[m[1]] = filepath.Join(s.inputs, "sha256", m[2][:2], m[2])
	}
	own, err := filepath.Glob(filepath.Join(s.standins, "*.whl"))
	if err != nil {
		return err
	}
	for _, p := range own {
		files[filepath.Base(p)] = p
	}
	var pins strings.Builder
	missing := 0
	for name, p := range files {
		if err := readWhole(p); errors.Is(err, fs.ErrNotExist) {
			missing++
			continue
		} else if err != nil {
			return err
		}
		if err := os.Symlink(p, filepath.Join(s.wheelhouse, name)); err != nil {
			return err
		}
		parts := strings.SplitN(name, "-", 3)
		fmt.Fprintf(&pins, "%s==%s\n", parts[0], parts[1])
	}
	if missing > 0 || len(files) == len(own) {
		return fmt.Errorf("%d of %d wheels are not in %s: fill it with\n  go run ./internal/devtool standin -o DIR\n  go run ./internal/devtool interpreter -platform darwin/arm64 -o DIR/cpython-3.12.3-darwin-arm64.tar\n  bin/metalpack fetch %s --find-links DIR",
			missing, len(files), s.inputs, recipeDir)
	}
	return os.WriteFile(s.requirements, []byte(pins.String()), 0o600)
}

// readWhole brings a file into the page cache.
func readWhole(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, f)
	return errors.Join(err, f.Close())
}

// makeRecipes writes a recipe for each level, and one that leaves out a file.
func (s *stage) makeRecipes(root string) error {
	for level, compression := range compressions {
		if err := s.makeRecipe(root, level, "compression: "+compression+"\n"); err != nil {
			return err
		}
	}
	base, err := os.ReadFile(filepath.Join(root, baseRecipe))
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(base), "\nstrip:\n")
	var strip strings.Builder
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "  - ") {
			break
		}
		strip.WriteString(line)
	}
	return s.makeRecipe(root, caseChanged, "compression: "+compressions["fast"]+"\nstrip:\n"+strip.String()+"  - "+dropped+"\n")
}

func (s *stage) makeRecipe(root, name, text string) error {
	dir := filepath.Join(s.dir, "recipe "+name)
	s.recipes[name] = dir
	return errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "recipe.yaml"),
		[]byte("version: 1\nextends: "+filepath.Join(root, recipeDir)+"\n"+text), 0o600))
}

// size adds up the files below a directory.
func size(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
