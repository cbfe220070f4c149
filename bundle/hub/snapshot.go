// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/fileclone"
)

// ErrNoSnapshot says that a directory does not lie in a hub's cache. It wraps
// [bundle.ErrInvalid].
var ErrNoSnapshot = fmt.Errorf("not in a Hugging Face cache: %w", bundle.ErrInvalid)

// maxRef is the cap on the file that names a commit, in bytes.
const maxRef = 256

// Snapshot is one commit of a model in a cache of the hub's own programs. It is
// safe for concurrent use.
type Snapshot struct {
	root   *os.Root // models--org--name
	name   string
	commit string
	files  []File
}

// OpenSnapshot opens …/models--org--name/snapshots/<commit>, or, given
// …/models--org--name, the commit that its refs/main names. Links lead inside
// that models-- directory. Close it after use. Errors: [ErrNoSnapshot] if dir is
// something else; [bundle.ErrNotFound] if it is not there, holds no such commit
// or a link leads to nothing; [bundle.ErrInvalid] for a link that leads out, a
// bad path or something that is no file.
func OpenSnapshot(dir string) (_ *Snapshot, err error) {
	home, commit, err := locate(dir)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{name: cachedName(filepath.Base(home)), commit: commit}
	if s.root, err = os.OpenRoot(home); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.root.Close())
		}
	}()
	if s.commit == "" {
		if s.commit, err = s.main(); err != nil {
			return nil, err
		}
	}
	if err := s.list(); err != nil {
		return nil, fmt.Errorf("%s: %w", s, err)
	}
	return s, nil
}

// locate finds the directory of the model and, if dir names it, the commit.
func locate(dir string) (home, commit string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", "", err
	}
	home, err = filepath.EvalSymlinks(dir) // the directory itself may be a link
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "", fmt.Errorf("directory %s: %w", dir, bundle.ErrNotFound)
	case err != nil:
		return "", "", err
	}
	dir = home
	if snapshots := filepath.Dir(dir); filepath.Base(snapshots) == "snapshots" && isCommit.MatchString(filepath.Base(dir)) {
		home, commit = filepath.Dir(snapshots), filepath.Base(dir)
	}
	if cachedName(filepath.Base(home)) == "" {
		return "", "", fmt.Errorf("%s: %w", dir, ErrNoSnapshot)
	}
	return home, commit, nil
}

// cachedName is the model that a directory of a cache holds; "" if none.
func cachedName(dir string) string {
	rest, ok := strings.CutPrefix(dir, "models--")
	name := strings.Replace(rest, "--", "/", 1)
	if !ok || checkRepo(name) != nil {
		return ""
	}
	return name
}

// main reads refs/main.
func (s *Snapshot) main() (string, error) {
	f, err := s.root.Open("refs/main")
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: refs/main: name a directory below snapshots: %w", s.root.Name(), bundle.ErrNotFound)
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxRef))
	if err != nil {
		return "", err
	}
	commit := strings.TrimSpace(string(data))
	if !isCommit.MatchString(commit) {
		return "", fmt.Errorf("%s: refs/main: %.80q is no commit: %w", s.root.Name(), commit, bundle.ErrInvalid)
	}
	return commit, nil
}

// String is where the snapshot lies.
func (s *Snapshot) String() string { return filepath.Join(s.root.Name(), filepath.FromSlash(s.at(""))) }

// at is a path of the model below the root.
func (s *Snapshot) at(p string) string { return path.Join("snapshots", s.commit, p) }

// list reads the tree.
func (s *Snapshot) list() error {
	switch _, err := s.root.Stat(s.at("")); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the cache does not hold this commit: %w", bundle.ErrNotFound)
	case err != nil:
		return refusedLink(err)
	}
	err := fs.WalkDir(s.root.FS(), s.at(""), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if len(s.files) == MaxFiles {
			return fmt.Errorf("more than %d files: %w", MaxFiles, bundle.ErrInvalid)
		}
		rel := strings.TrimPrefix(p, s.at("")+"/")
		if err := bundle.CheckPath(rel); err != nil {
			return err
		}
		f, err := s.stat(rel)
		if err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		s.files = append(s.files, f)
		return nil
	})
	sort.Slice(s.files, func(i, j int) bool { return s.files[i].Path < s.files[j].Path })
	return err
}

// stat describes a file; what its link names, a sha256 or a git id, is what it
// should have.
func (s *Snapshot) stat(p string) (File, error) {
	info, err := s.root.Stat(s.at(p))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return File{}, fmt.Errorf("its link leads to nothing: the download is not complete: %w", bundle.ErrNotFound)
	case err != nil:
		return File{}, refusedLink(err)
	case !info.Mode().IsRegular():
		return File{}, fmt.Errorf("not a file: %w", bundle.ErrInvalid)
	}
	f := File{Path: p, Size: info.Size()}
	target, err := s.root.Readlink(s.at(p))
	if err != nil {
		return f, nil //nolint:nilerr // no link: a system without them, where nothing tells the ids
	}
	if id := path.Base(filepath.ToSlash(target)); path.Base(path.Dir(filepath.ToSlash(target))) == "blobs" {
		switch {
		case isSHA256.MatchString(id):
			f.SHA256 = id
		case isCommit.MatchString(id):
			f.GitID = id
		}
	}
	return f, nil
}

// refusedLink is the error of a path that cannot be followed: it leads out of
// the directory, or round in circles, unless we may not read it.
func refusedLink(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w: %w", err, bundle.ErrInvalid)
}

// Close releases the directory.
func (s *Snapshot) Close() error { return s.root.Close() }

// Name is org/name.
func (s *Snapshot) Name() string { return s.name }

// Commit is the commit, 40 hex digits.
func (s *Snapshot) Commit() string { return s.commit }

// URL is the model's page on the public hub.
func (s *Snapshot) URL() string { return DefaultEndpoint + "/" + s.name }

// Files lists the files of the commit that the cache holds, sorted by path.
// Ids are those that the cache claims; neither is known where it holds files
// instead of links. The error is always nil.
func (s *Snapshot) Files(context.Context) ([]File, error) { return slices.Clone(s.files), nil }

// Open streams a file from byte offset on. The bytes are not verified. Errors:
// [bundle.ErrNotFound], [bundle.ErrMismatch] if its size has changed,
// [bundle.ErrInvalid] for an offset beyond the end.
func (s *Snapshot) Open(ctx context.Context, p string, offset int64) (io.ReadCloser, error) {
	listed, ok := find(s.files, p)
	if !ok {
		return nil, fmt.Errorf("%s: %s: %w", s, p, bundle.ErrNotFound)
	}
	if offset < 0 || offset > listed.Size {
		return nil, fmt.Errorf("%s: %s: offset %d of %d bytes: %w", s, p, offset, listed.Size, bundle.ErrInvalid)
	}
	f, err := s.root.Open(s.at(p))
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.Size() != listed.Size || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s: %s: changed since it was listed: %w", s, p, bundle.ErrMismatch), f.Close())
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	own := &fileclone.File{File: f}
	return cachedFile{ctxio.Reader(ctx, own), own}, nil
}

// cachedFile is an open file of a cache, read until a context ends.
type cachedFile struct {
	io.Reader
	file *fileclone.File
}

// Close implements io.Closer.
func (f cachedFile) Close() error { return f.file.Close() }

// CloneTo implements [bundle.Cloner].
func (f cachedFile) CloneTo(path string) error { return f.file.CloneTo(path) }

// ReadRange reads n bytes from offset on, fewer where the file ends. They are
// verified by nothing. Errors as for Open, and [bundle.ErrInvalid] if n is more
// than [MaxRange].
func (s *Snapshot) ReadRange(ctx context.Context, p string, offset, n int64) ([]byte, error) {
	if n < 0 || n > MaxRange {
		return nil, fmt.Errorf("%s: %s: %d bytes at once: %w", s, p, n, bundle.ErrInvalid)
	}
	rc, err := s.Open(ctx, p, offset)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(rc, n))
}

// ReadSmall reads a file of at most limit bytes (0 = [MaxSmall]) whole and
// verifies it against the id that the cache claims. Errors as for Open.
func (s *Snapshot) ReadSmall(ctx context.Context, p string, limit int64) ([]byte, error) {
	f, ok := find(s.files, p)
	if !ok {
		return nil, fmt.Errorf("%s: %s: %w", s, p, bundle.ErrNotFound)
	}
	data, err := readSmall(f, limit, func() (io.ReadCloser, error) { return s.Open(ctx, p, 0) })
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", s, p, err)
	}
	return data, nil
}
