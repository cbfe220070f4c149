// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// directory is a directory on disk.
type directory struct{ dir string }

// Dir is the origin of the files in a directory. Directories whose name begins
// with a dot are not looked into. Links are not followed, but for the directory
// itself; a snapshot of a Hugging Face cache, which has nothing else, is opened
// by package hub.
func Dir(dir string) Origin { return directory{dir} }

// resolve finds the directory.
func (d directory) resolve() (string, error) {
	root, err := filepath.EvalSymlinks(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("model directory %s: %w", d.dir, bundle.ErrNotFound)
	}
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return "", invalid("model %s: not a directory", d.dir)
	}
	return filepath.Abs(root)
}

// List implements [Origin]. Errors: [bundle.ErrNotFound], [bundle.ErrInvalid]
// for what is no directory.
func (d directory) List(ctx context.Context) (*Listing, error) {
	root, err := d.resolve()
	if err != nil {
		return nil, err
	}
	l := &Listing{Name: d.dir}
	err = filepath.WalkDir(root, func(disk string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case disk == root:
			return nil
		case entry.IsDir() && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir():
			return nil
		}
		f, err := describeFile(root, disk)
		l.Files = append(l.Files, f)
		return err
	})
	return l, err
}

// describeFile describes what lies at a path on disk.
func describeFile(root, disk string) (OriginFile, error) {
	rel, err := filepath.Rel(root, disk)
	if err != nil {
		return OriginFile{}, err
	}
	info, err := os.Lstat(disk)
	if err != nil {
		return OriginFile{}, err
	}
	return OriginFile{Path: filepath.ToSlash(rel), Size: info.Size(), Type: info.Mode().Type()}, nil
}

// Open implements [Origin].
func (d directory) Open(_ context.Context, path string, offset int64) (_ io.ReadCloser, err error) {
	root, err := d.resolve()
	if err != nil {
		return nil, err
	}
	disk := filepath.Join(root, filepath.FromSlash(path))
	if info, err := os.Lstat(disk); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("%s: became a link: %w", path, bundle.ErrMismatch)
	}
	f, err := os.Open(disk)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, closeAfter(err, f)
	}
	return f, nil
}

func closeAfter(err error, c io.Closer) error {
	fsatomic.CloseErr(&err, c)
	return err
}
