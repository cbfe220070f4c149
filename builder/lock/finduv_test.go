// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/builder/lock"
)

// installer plays python3: it "installs" uv the way that works.
type installer struct {
	works string // "pip", "venv" or ""
	runs  int
}

func (i *installer) Run(_ context.Context, c lock.Command) ([]byte, error) {
	i.runs++
	if at := slices.Index(c.Argv, "--target"); at >= 0 {
		if i.works != "pip" {
			return nil, errors.New("exit status 1: no module named pip")
		}
		return nil, touch(filepath.Join(c.Argv[at+1], "bin", "uv"))
	}
	if i.works != "venv" {
		return nil, errors.New("exit status 1: ensurepip is not available")
	}
	if c.Argv[2] == "venv" {
		return nil, touch(filepath.Join(c.Argv[3], "bin", "python"))
	}
	return nil, touch(filepath.Join(filepath.Dir(c.Argv[0]), "uv"))
}

func touch(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, nil, 0o755)
}

func lookOnly(names ...string) func(string) (string, error) {
	return func(name string) (string, error) {
		if slices.Contains(names, name) {
			return "/usr/bin/" + name, nil
		}
		return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
	}
}

func TestFindUV(t *testing.T) {
	t.Parallel()
	uv, err := lock.Finder{LookPath: lookOnly("uv"), Runner: &installer{}}.Find(t.Context())
	if err != nil || uv.Path != "/usr/bin/uv" {
		t.Errorf("on PATH: %+v, %v", uv, err)
	}
	for _, way := range []string{"pip", "venv"} {
		run := &installer{works: way}
		f := lock.Finder{LookPath: lookOnly("python3"), Runner: run, Dir: t.TempDir()}
		first, err := f.Find(t.Context())
		if err != nil {
			t.Errorf("%s: %v", way, err)
			continue
		}
		runs := run.runs
		second, err := f.Find(t.Context())
		if err != nil || second.Path != first.Path || run.runs != runs {
			t.Errorf("%s: installed again: %+v, %v", way, second, err)
		}
	}
}

func TestNoUV(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]lock.Finder{
		"no python":   {LookPath: lookOnly(), Runner: &installer{}, Dir: t.TempDir()},
		"no pip":      {LookPath: lookOnly("python3"), Runner: &installer{}, Dir: t.TempDir()},
		"not allowed": {LookPath: lookOnly("python3"), Runner: &installer{}},
	} {
		_, err := f.Find(t.Context())
		if !errors.Is(err, lock.ErrNoUV) || !strings.Contains(err.Error(), "not on PATH") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestExecRunner(t *testing.T) {
	t.Parallel()
	out, err := lock.ExecRunner{}.Run(t.Context(), lock.Command{Dir: t.TempDir(), Env: []string{"WORD=said"}, Argv: []string{"sh", "-c", `echo "$WORD"`}})
	if err != nil || string(out) != "said\n" {
		t.Errorf("got %q, %v", out, err)
	}
	_, err = lock.ExecRunner{}.Run(t.Context(), lock.Command{Argv: []string{"sh", "-c", "echo broken >&2; exit 3"}})
	if err == nil || err.Error() != "exit status 3: broken" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = (lock.ExecRunner{}).Run(ctx, lock.Command{Argv: []string{"sh", "-c", "sleep 100"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
