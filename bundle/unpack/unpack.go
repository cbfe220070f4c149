// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"

	"github.com/metalpack/metalpack/bundle"
)

// Modes of installed files. Nobody has a reason to write to one.
const (
	InstalledFile       = 0o444
	InstalledExecutable = 0o555
)

// InstalledMode is the mode under which an entry of the tree is installed.
func InstalledMode(e bundle.TreeEntry) os.FileMode {
	if e.Mode == bundle.ModeExecutable {
		return InstalledExecutable
	}
	return InstalledFile
}

// Options says what [Layer] unpacks and where to.
type Options struct {
	Name string                        // the environment's name, the directory all entries lie under
	Tree *bundle.Tree                  // of the environment
	Root *os.Root                      // directory that becomes the version; the name is stripped
	Want func(e bundle.TreeEntry) bool // files and links to write; nil = all
}

// Stats counts what [Layer] did.
type Stats struct {
	Written int   // files and links
	Skipped int   // not wanted
	Bytes   int64 // written
}

// diskError keeps an error of our own disk apart from one of the layer.
type diskError struct{ error }

func (e *diskError) Unwrap() error { return e.error }

func disk(err error) error {
	if err == nil {
		return nil
	}
	return &diskError{err}
}

// Layer unpacks one layer from its blob r, described by desc, whose annotation
// [bundle.AnnotationLayer] names it. Several layers may be unpacked into one
// root at once. Errors wrap [bundle.ErrMismatch] when the blob is not what desc
// says or a file not what the tree says, [bundle.ErrInvalid] when the layer
// breaks a rule of the format; or they are those of r, of the disk, or ctx's
// cause. After an error the files written so far are good.
func Layer(ctx context.Context, r io.Reader, desc bundle.Descriptor, o Options) (Stats, error) {
	x := &extractor{options: o, expected: expect(o.Tree, desc.Annotations[bundle.AnnotationLayer], o.Name), buf: make([]byte, 256<<10), hash: sha256.New()}
	defer x.close()
	err := func() error {
		s, err := newStream(ctx, r, desc, x.expected.budget())
		if err != nil {
			return err
		}
		defer s.close()
		if err := x.run(s); err != nil {
			return s.judge(err)
		}
		return nil
	}()
	if err != nil {
		return x.stats, fmt.Errorf("%s: %w", bundle.Label(desc), err)
	}
	return x.stats, nil
}

// extractor is one run of Layer.
type extractor struct {
	options  Options
	expected *expected
	stats    Stats
	links    []bundle.TreeEntry
	buf      []byte
	hash     hash.Hash

	dir     *os.Root // of the file before; layers are sorted, so mostly of the next too
	dirName string
}

func (x *extractor) run(s *stream) error {
	tr := tar.NewReader(s)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("tar: %w", err)
		}
		e, err := x.expected.match(h)
		switch {
		case err != nil:
			return err
		case e.Path == "": // a directory, made when a file needs it
		case x.options.Want != nil && !x.options.Want(e):
			x.stats.Skipped++
		case e.IsLink():
			x.links = append(x.links, e)
		default:
			if err := x.write(e, tr); err != nil {
				return err
			}
		}
	}
	if err := x.expected.complete(); err != nil {
		return err
	}
	if err := s.end(); err != nil {
		return err
	}
	for _, e := range x.links {
		if err := x.link(e); err != nil {
			return err
		}
	}
	return nil
}

// write creates one file with exactly the bytes that the tree promises.
func (x *extractor) write(e bundle.TreeEntry, content io.Reader) (err error) {
	dir, err := x.enter(path.Dir(e.Path))
	if err != nil {
		return err
	}
	name := path.Base(e.Path)
	f, err := dir.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return disk(err)
	}
	defer func() {
		if cerr := disk(f.Close()); err == nil {
			err = cerr
		}
		if err != nil {
			_ = dir.Remove(name) // what cannot be removed fails the next check of the tree
		}
	}()
	x.hash.Reset()
	n, err := io.CopyBuffer(struct{ io.Writer }{diskWriter{f, x.hash}}, struct{ io.Reader }{content}, x.buf)
	if err != nil {
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	if got := hex.EncodeToString(x.hash.Sum(nil)); n != e.Size || got != e.SHA256 {
		return fmt.Errorf("%q: %d bytes with sha256 %s, the tree says %d and %s: %w", e.Path, n, got, e.Size, e.SHA256, bundle.ErrMismatch)
	}
	x.stats.Written++
	x.stats.Bytes += n
	return disk(f.Chmod(InstalledMode(e)))
}

// diskWriter writes to a file and a hash.
type diskWriter struct {
	f    *os.File
	hash hash.Hash
}

func (w diskWriter) Write(p []byte) (int, error) {
	w.hash.Write(p)
	n, err := w.f.Write(p)
	return n, disk(err)
}

func (x *extractor) link(e bundle.TreeEntry) error {
	dir, err := x.enter(path.Dir(e.Path))
	if err != nil {
		return err
	}
	x.stats.Written++
	return disk(dir.Symlink(e.Target, path.Base(e.Path)))
}

// enter returns a handle of a directory, which is made if need be.
func (x *extractor) enter(name string) (*os.Root, error) {
	if x.dir != nil && x.dirName == name {
		return x.dir, nil
	}
	x.close()
	if name != "." {
		if err := x.options.Root.MkdirAll(name, 0o755); err != nil {
			return nil, disk(err)
		}
	}
	dir, err := x.options.Root.OpenRoot(name)
	if err != nil {
		return nil, disk(err)
	}
	x.dir, x.dirName = dir, name
	return dir, nil
}

func (x *extractor) close() {
	if x.dir != nil {
		_ = x.dir.Close() // a directory that was only read
		x.dir = nil
	}
}
