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
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fileclone"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Memo remembers the sha256 of files by the state that they are in.
// Implementations are safe for concurrent use.
type Memo interface {
	// Recall returns what was remembered of a file in this state, 64 hex
	// digits, or "".
	Recall(info fs.FileInfo) string
	// Remember notes the sha256 of a file in this state, if the state says
	// enough to know it again.
	Remember(info fs.FileInfo, sha256 string)
}

// maxDirFiles caps the files of a directory, whatever is left out of them later.
const maxDirFiles = 100_000

// directory is a directory on disk.
type directory struct {
	dir  string
	memo Memo

	mu     sync.Mutex
	listed map[string]fs.FileInfo // regular files, as they were when they were listed
}

// Dir is the origin of the files in a directory. Directories whose name begins
// with a dot are not looked into. Links are not followed, but for the directory
// itself; a snapshot of a Hugging Face cache, which has nothing else, is opened
// by package hub. A file that memo knows is not hashed again; nil = none.
func Dir(dir string, memo Memo) Origin { return &directory{dir: dir, memo: memo} }

// resolve finds the directory.
func (d *directory) resolve() (string, error) {
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
func (d *directory) List(ctx context.Context) (*Listing, error) {
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
		case len(l.Files) == maxDirFiles:
			return invalid("model %s: more than %d files", d.dir, maxDirFiles)
		}
		f, err := d.describe(root, disk)
		l.Files = append(l.Files, f)
		return err
	})
	return l, err
}

// describe describes what lies at a path on disk.
func (d *directory) describe(root, disk string) (OriginFile, error) {
	rel, err := filepath.Rel(root, disk)
	if err != nil {
		return OriginFile{}, err
	}
	info, err := os.Lstat(disk)
	if err != nil {
		return OriginFile{}, err
	}
	f := OriginFile{Path: filepath.ToSlash(rel), Size: info.Size(), Type: info.Mode().Type()}
	if f.Type != 0 {
		return f, nil
	}
	if d.memo != nil {
		f.SHA256 = d.memo.Recall(info)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listed == nil {
		d.listed = map[string]fs.FileInfo{}
	}
	d.listed[f.Path] = info
	return f, nil
}

// Open implements [Origin]. A file that is not as it was listed is
// [bundle.ErrMismatch].
func (d *directory) Open(_ context.Context, path string, offset int64) (_ io.ReadCloser, err error) {
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
	info, err := f.Stat()
	if err == nil {
		_, err = d.unchanged(path, info)
	}
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, closeAfter(err, f)
	}
	return &diskFile{fileclone.File{File: f}}, nil
}

// diskFile is a file of a directory that was as it was listed when it was opened.
type diskFile struct{ fileclone.File }

// knownFile is one whose digest, in that state, is known.
type knownFile struct{ *diskFile }

// KnownFile implements [bundle.KnownFile].
func (f knownFile) KnownFile() (*os.File, func(int64)) { return f.File.File, func(int64) {} }

// unchanged compares a file with how it was listed, and returns that.
func (d *directory) unchanged(path string, now fs.FileInfo) (was fs.FileInfo, err error) {
	d.mu.Lock()
	was, ok := d.listed[path]
	d.mu.Unlock()
	if ok && (!os.SameFile(was, now) || was.Size() != now.Size() || !was.ModTime().Equal(now.ModTime())) {
		return was, fmt.Errorf("%s: changed since it was listed: %w", path, bundle.ErrMismatch)
	}
	return was, nil
}

// settle implements settler.
func (d *directory) settle(path string, sum digest.Digest) error {
	root, err := d.resolve()
	if err != nil {
		return err
	}
	now, err := os.Lstat(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		return err
	}
	was, err := d.unchanged(path, now)
	if err == nil && d.memo != nil && was != nil {
		d.memo.Remember(was, sum.Encoded()) // as it was before: a change meanwhile is a change
	}
	return err
}

func closeAfter(err error, c io.Closer) error {
	fsatomic.CloseErr(&err, c)
	return err
}
