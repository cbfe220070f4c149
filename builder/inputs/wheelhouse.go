// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/diskspace"
	"github.com/metalpack/metalpack/internal/filehash"
	"github.com/metalpack/metalpack/internal/filelock"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Directories of a wheelhouse.
const (
	WheelsDir       = "wheels"
	InterpretersDir = "interpreters"
)

// Wheelhouse is a directory that pip and uv install from, and that can be named
// with --find-links: wheels/, interpreters/ and locks.
//
// Files are copies, not links: the mode of a link is that of the cache's file,
// and who may change the one may change the other. Where the file system can
// share blocks the copy costs nothing.
type Wheelhouse struct {
	Dir    string
	Events bundle.EventFunc
}

// Put adds files that were fetched. What is there already and right is left
// alone; what else lies there, too. Every file appears whole. Errors are those
// of the file system, a full disk's a [*diskspace.Error].
func (h Wheelhouse) Put(ctx context.Context, cache *Cache, wants []Want) (err error) {
	if err := os.MkdirAll(h.Dir, 0o755); err != nil {
		return err
	}
	release, err := filelock.Shared(ctx, h.Dir, os.O_RDONLY, h.sweep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	for _, w := range wants {
		if err := h.putFile(ctx, cache, w); err != nil {
			return fmt.Errorf("%s: %w", w.label(), err)
		}
	}
	return nil
}

// tempPrefix begins the name of a file that is being written.
const tempPrefix = ".metalpack-"

// sweep removes what killed runs left.
func (h Wheelhouse) sweep() error {
	for _, dir := range []string{WheelsDir, InterpretersDir} {
		left, err := filepath.Glob(filepath.Join(globQuote(h.Dir), dir, tempPrefix+"*"))
		if err != nil {
			return err
		}
		for _, name := range left {
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// globQuote makes a path match itself alone.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Path is where a file lies, or would lie.
func (h Wheelhouse) Path(w Want) string {
	if strings.HasSuffix(w.File, ".whl") {
		return filepath.Join(h.Dir, WheelsDir, w.File)
	}
	return filepath.Join(h.Dir, InterpretersDir, w.File)
}

func (h Wheelhouse) putFile(ctx context.Context, cache *Cache, w Want) (err error) {
	to := h.Path(w)
	dir := filepath.Dir(to)
	switch got, _, err := filehash.SHA256(ctx, to); {
	case err == nil && got == w.SHA256:
		e := w.event(bundle.EventSkipped)
		e.Reason = "in " + dir
		h.Events.Emit(e)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	src, err := os.Open(cache.Path(w.SHA256))
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, src)
	temp, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	_, err = io.Copy(temp, ctxio.Reader(ctx, src))
	if err == nil {
		err = errors.Join(temp.Chmod(0o644), temp.Sync())
	}
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = fsatomic.Rename(temp.Name(), to)
	}
	if err != nil {
		return errors.Join(diskspace.Explain(err, h.Dir, w.Size), os.Remove(temp.Name()))
	}
	return nil
}

// PutLock writes a lock that names the wheels. A file of that name that is not
// from here is left alone: the error wraps [bundle.ErrInvalid].
func (h Wheelhouse) PutLock(name string, data []byte) error {
	path := filepath.Join(h.Dir, name)
	old, err := os.ReadFile(path)
	switch {
	case err == nil && bytes.Equal(old, data):
		return nil
	case err == nil && !bytes.HasPrefix(old, []byte(lock.WheelhouseHeader)):
		return fmt.Errorf("%s: there is a lock that is not from a wheelhouse: %w", path, bundle.ErrInvalid)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return fsatomic.WriteFile(path, data, 0o644)
}
