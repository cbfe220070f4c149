// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
)

// sealed is the mtime of a blob that was hashed, found right and synced: an
// instant that no clock shows and no archive holds. Whoever writes to the file
// afterwards changes it without knowing, and a copy that keeps times keeps what
// they say. A file system with coarser times seals nothing, which costs a hash.
var sealed = time.Unix(315619200, 73_111_013)

// Exists implements [bundle.Target]. A blob that is there is hashed unless it is
// sealed: one that was damaged since it was written does not exist, so that it
// is written again and no artifact stands on it.
func (w *Writer) Exists(ctx context.Context, desc bundle.Descriptor) (bool, error) {
	if err := bundle.CheckDescriptor(desc); err != nil {
		return false, fmt.Errorf("%s: %w", w.name, err)
	}
	if w.isRight(desc.Digest) {
		return true, nil
	}
	staged, err := openDirectory(w.dir)
	if err != nil {
		return false, fmt.Errorf("%s: %w", w.name, err)
	}
	ok, err := sound(ctx, staged, desc)
	if !ok && err == nil && w.old != nil {
		ok, err = sound(ctx, w.old.files, desc)
	}
	if err := errors.Join(err, staged.Close()); err != nil {
		return false, fmt.Errorf("%s: %s: %w", w.name, bundle.Label(desc), err)
	}
	if ok {
		w.setRight(desc.Digest)
	}
	return ok, nil
}

// sound reports whether a place holds a blob with the right bytes.
func sound(ctx context.Context, place files, desc bundle.Descriptor) (ok bool, err error) {
	s, err := place.open(blobName(desc.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer closeInto(&err, s)
	if s.Size() != desc.Size {
		return false, nil
	}
	if s.modTime.Equal(sealed) {
		return true, nil
	}
	err = bundle.NewVerifier(ctxio.Reader(ctx, s), desc).Finish()
	if errors.Is(err, bundle.ErrMismatch) {
		return false, nil
	}
	if err == nil && s.seal != nil {
		err = s.seal()
	}
	return err == nil, err
}

// seal syncs a file that was found right and sets its time. Where that is not
// allowed, in another user's layout say, it is hashed again next time.
func seal(f *os.File, name string, setTimes func(name string, accessed, modified time.Time) error) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := setTimes(name, sealed, sealed); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

func (w *Writer) isRight(d digest.Digest) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.right[d]
}

func (w *Writer) setRight(d digest.Digest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.right[d] = true
}

// Push implements [bundle.Target]. A manifest that is in the directory
// already is not written again. Errors: [bundle.ErrMismatch], [bundle.ErrInvalid], those of open.
func (w *Writer) Push(ctx context.Context, desc bundle.Descriptor, open bundle.Opener) error {
	manifest, there := bundle.IsManifest(desc.MediaType), false
	if manifest && w.archive == "" {
		var err error
		if there, err = w.Exists(ctx, desc); err != nil {
			return err
		}
	}
	if !there {
		if err := w.push(ctx, desc, open); err != nil {
			return err
		}
	}
	if manifest {
		return w.noteReferrer(desc)
	}
	return nil
}

func (w *Writer) push(ctx context.Context, desc bundle.Descriptor, open bundle.Opener) error {
	if err := bundle.CheckDescriptor(desc); err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	rc, err := open(ctx)
	if err != nil {
		return err
	}
	err = w.writeBlob(ctx, desc, rc)
	if err := errors.Join(err, rc.Close()); err != nil {
		return fmt.Errorf("%s: %s: %w", w.name, bundle.Label(desc), err)
	}
	w.setRight(desc.Digest)
	return nil
}

// writeBlob gives a blob its name once it is whole, right and synced. A stream
// that is a file of its own is linked if that can be: its bytes are on the disk
// once, and are read once.
func (w *Writer) writeBlob(ctx context.Context, desc bundle.Descriptor, r io.Reader) error {
	if named, ok := r.(bundle.NamedStream); ok {
		if linked, err := w.linkBlob(ctx, desc, named.FileName()); linked || err != nil {
			return err
		}
	}
	return w.writeStream(r, bundle.NewVerifier(ctxio.Reader(ctx, r), desc))
}

// writeStream writes r, which seen reads, under the digest that it then has. A
// file that can be cloned is: then its clone is read, and nothing written.
func (w *Writer) writeStream(r io.Reader, seen *bundle.Verifier) error {
	temp := w.partial()
	cloned := bundle.CloneTo(r, temp) == nil
	flag := os.O_RDWR
	if !cloned {
		flag |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(temp, flag, 0o600)
	if err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(temp)))
	}
	if cloned {
		err = seen.Finish()
	} else {
		_, err = io.Copy(f, seen)
	}
	return w.publish(f, seen.Digest(), err)
}

// partial is a new name for a blob that is being written.
func (w *Writer) partial() string {
	return filepath.Join(w.dir, "blobs", "sha256", partialPrefix+rand.Text()[:12])
}

// linkBlob links a file under the name of a blob if its bytes are those of desc.
// It reports false where that cannot be.
func (w *Writer) linkBlob(ctx context.Context, desc bundle.Descriptor, from string) (linked bool, err error) {
	if from == "" {
		return false, nil
	}
	temp := w.partial()
	if os.Link(from, temp) != nil {
		return false, nil //nolint:nilerr // another file system, or one without links: it is copied
	}
	f, err := os.Open(temp)
	if err != nil {
		return false, errors.Join(err, os.Remove(temp))
	}
	err = f.Chmod(0o444)
	if err == nil {
		err = bundle.NewVerifier(ctxio.Reader(ctx, f), desc).Finish()
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, bundle.ErrMismatch) {
		return false, errors.Join(f.Close(), os.Remove(temp)) // another's file, or a wrong one: the stream says more
	}
	return true, w.publish(f, desc.Digest, err)
}

// publish seals a temporary file and gives it its name, unless err says that it
// is not right: then it is removed. The name is durable after Commit. What is
// staged for an archive is not sealed: nobody finds it after a crash.
func (w *Writer) publish(f *os.File, d digest.Digest, err error) error {
	if err == nil {
		err = f.Chmod(0o444)
	}
	if err == nil && w.archive == "" {
		err = seal(f, f.Name(), os.Chtimes)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(w.dir, filepath.FromSlash(blobName(d))))
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(f.Name())))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
