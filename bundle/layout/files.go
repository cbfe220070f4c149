// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/metalpack/metalpack/bundle"
)

// files is what holds a layout: a directory or a tar file. Open of a file that
// is not there wraps fs.ErrNotExist.
type files interface {
	open(name string) (*section, error)
	names() ([]string, error) // of all blobs
	Close() error
}

// section is one file, readable from any offset.
type section struct {
	*io.SectionReader
	modTime time.Time    // of a file in a directory
	seal    func() error // says that it was found right; nil = nothing to say that to
	close   func() error
}

// Close implements io.Closer.
func (s *section) Close() error { return s.close() }

// directory is a layout in a directory.
type directory struct{ root *os.Root }

func openDirectory(path string) (directory, error) {
	root, err := os.OpenRoot(path)
	return directory{root}, err
}

// open opens a regular file; anything else, a FIFO say, is refused before it
// is opened, since opening could wait for ever.
func (d directory) open(name string) (*section, error) {
	info, err := d.root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file: %w", name, bundle.ErrInvalid)
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	seal := func() error { return seal(f, name, d.root.Chtimes) }
	return &section{SectionReader: io.NewSectionReader(f, 0, info.Size()), modTime: info.ModTime(), seal: seal, close: f.Close}, nil
}

func (d directory) names() ([]string, error) {
	f, err := d.root.Open("blobs/sha256")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names, err := blobNames(f, maxArchiveEntries)
	return names, errors.Join(err, f.Close())
}

// blobNames lists the blobs of a directory, which may hold most files.
func blobNames(dir fs.ReadDirFile, most int) ([]string, error) {
	entries, err := dir.ReadDir(most + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > most {
		return nil, fmt.Errorf("blobs/sha256: more than %d files: %w", most, bundle.ErrInvalid)
	}
	var out []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			out = append(out, "blobs/sha256/"+e.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}

// Close implements io.Closer.
func (d directory) Close() error { return d.root.Close() }

// span is where an entry's bytes lie in an archive.
type span struct{ offset, size int64 }

// archive is a layout in a tar file.
type archive struct {
	f       *os.File
	entries map[string]span
}

func openArchive(path string) (a *archive, err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // before it is opened, as above
		return nil, fmt.Errorf("%s: not a regular file: %w", path, bundle.ErrInvalid)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	entries, err := scan(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &archive{f: f, entries: entries}, nil
}

// scan finds the files of a tar. The reader takes whole blocks and no more, so
// after a header the file's position is that of the entry's first byte.
func scan(f io.ReadSeeker, size int64) (map[string]span, error) {
	entries := map[string]span{}
	r := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not a tar of an OCI layout: %w: %w", err, bundle.ErrInvalid)
		}
		name := strings.TrimPrefix(h.Name, "./")
		offset, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		switch {
		case n >= maxArchiveEntries:
			return nil, fmt.Errorf("more than %d entries: %w", maxArchiveEntries, bundle.ErrInvalid)
		case h.Typeflag == tar.TypeDir:
			continue
		case h.Typeflag != tar.TypeReg || isSparse(h):
			return nil, fmt.Errorf("entry %.80q: not a regular file: %w", h.Name, bundle.ErrInvalid)
		case len(name) > bundle.MaxPath:
			return nil, fmt.Errorf("entry %.80q: a name of %d bytes, more than %d: %w", name, len(name), bundle.MaxPath, bundle.ErrInvalid)
		case offset+h.Size > size:
			return nil, fmt.Errorf("entry %.80q: cut: %w", h.Name, bundle.ErrInvalid)
		}
		if _, twice := entries[name]; twice {
			return nil, fmt.Errorf("entry %.80q: twice: %w", h.Name, bundle.ErrInvalid)
		}
		entries[name] = span{offset, h.Size}
	}
}

// isSparse reports whether a header announces more bytes than the file holds.
func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func (a *archive) open(name string) (*section, error) {
	s, ok := a.entries[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return &section{SectionReader: io.NewSectionReader(a.f, s.offset, s.size), close: func() error { return nil }}, nil
}

func (a *archive) names() ([]string, error) {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(a.entries)), func(n string) bool {
		return !strings.HasPrefix(n, "blobs/sha256/")
	}), nil
}

// Close implements io.Closer.
func (a *archive) Close() error { return a.f.Close() }

// readSmall reads a whole file of at most limit bytes.
func readSmall(fs files, name string, limit int64) (data []byte, err error) {
	s, err := fs.open(name)
	if err != nil {
		return nil, err
	}
	defer closeInto(&err, s)
	if s.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes, more than %d: %w", name, s.Size(), limit, bundle.ErrInvalid)
	}
	return io.ReadAll(s)
}

func closeInto(err *error, c io.Closer) {
	if cerr := c.Close(); *err == nil {
		*err = cerr
	}
}
