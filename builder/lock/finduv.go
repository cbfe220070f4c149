// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/filelock"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// uvRequirement is what a private installation asks for: the release whose
// output this package was tested with, and its fixes.
const uvRequirement = "uv>=0.13.9,<0.14"

// UV is a uv that was found.
type UV struct {
	Path   string
	Runner Runner
}

// Finder finds uv: on PATH, else one it installed before, else it installs one
// for this program alone.
type Finder struct {
	LookPath func(string) (string, error) // nil = [exec.LookPath]
	Runner   Runner                       // nil = [ExecRunner]
	Dir      string                       // where a private uv is kept, e.g. CACHE/uv; "" = never install
	Events   bundle.EventFunc
}

// Find returns a uv. The error wraps [ErrNoUV], says what was tried.
func (f Finder) Find(ctx context.Context) (UV, error) {
	if f.LookPath == nil {
		f.LookPath = exec.LookPath
	}
	if f.Runner == nil {
		f.Runner = ExecRunner{}
	}
	path, pathErr := f.LookPath("uv")
	if pathErr == nil {
		return UV{Path: path, Runner: f.Runner}, nil
	}
	if f.Dir == "" {
		return UV{}, fmt.Errorf("%w: it is not on PATH", ErrNoUV)
	}
	path, err := f.private(ctx)
	if ctx.Err() != nil {
		return UV{}, ctx.Err()
	}
	if err != nil {
		return UV{}, fmt.Errorf("%w: it is not on PATH, and none could be installed for this program alone: %w", ErrNoUV, err)
	}
	return UV{Path: path, Runner: f.Runner}, nil
}

// private returns the uv under f.Dir and installs it first if need be. A lock
// keeps two processes from installing at once.
func (f Finder) private(ctx context.Context) (_ string, err error) {
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := filelock.Exclusive(ctx, filepath.Join(f.Dir, ".lock"), filelock.Create)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	final := filepath.Join(f.Dir, "install")
	binary := filepath.Join(final, "bin", "uv")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	python, err := f.LookPath("python3")
	if err != nil {
		return "", errors.New("python3 is not on PATH either")
	}
	f.Events.Emit(bundle.Event{Kind: bundle.EventNote, What: "uv", Reason: "uv is not on PATH; installing it privately into " + f.Dir})
	if err := f.pipTarget(ctx, python, final); err == nil {
		return binary, nil
	} else if ctx.Err() != nil {
		return "", ctx.Err()
	} else if venvErr := f.venv(ctx, python, final); venvErr != nil {
		return "", fmt.Errorf("pip: %w; venv: %w", redacted(err), redacted(venvErr))
	}
	return binary, nil
}

// pipTarget installs with the system's pip into a directory of its own, which
// takes its name only when complete.
func (f Finder) pipTarget(ctx context.Context, python, final string) error {
	temp := final + ".new"
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	_, err := f.Runner.Run(ctx, Command{Dir: f.Dir, Argv: []string{
		python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--target", temp, uvRequirement,
	}})
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	if _, err := os.Stat(filepath.Join(temp, "bin", "uv")); err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return fsatomic.Rename(temp, final)
}

// venv installs with the pip of a new virtual environment, which cannot be
// moved afterwards: bin/uv appears last.
func (f Finder) venv(ctx context.Context, python, final string) error {
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	if _, err := f.Runner.Run(ctx, Command{Dir: f.Dir, Argv: []string{python, "-m", "venv", final}}); err != nil {
		return errors.Join(err, os.RemoveAll(final))
	}
	_, err := f.Runner.Run(ctx, Command{Dir: f.Dir, Argv: []string{
		filepath.Join(final, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", uvRequirement,
	}})
	if err == nil {
		_, err = os.Stat(filepath.Join(final, "bin", "uv"))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(final))
	}
	return nil
}
