// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// MaxInput is the cap on a file whose size nothing declares, in bytes.
const MaxInput = 16 << 30

// maxExcess caps what is read of a file that is too large, in bytes: only to
// say what came instead.
const maxExcess = 256 << 20

// partial is a file on its way into the cache, with the hash of what it has.
type partial struct {
	file *os.File
	hash hash.Hash
	size int64
}

// partialPath is where the bytes of a file lie until all are there.
func (c *Cache) partialPath(sum string) string { return filepath.Join(c.dir, "partial", sum) }

// openPartial opens what an earlier attempt left, or an empty file. The caller
// holds the lock of the digest.
func (c *Cache) openPartial(ctx context.Context, sum string) (_ *partial, err error) {
	name := c.partialPath(sum)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if info, serr := os.Lstat(name); errors.Is(err, fs.ErrPermission) && serr == nil && info.Mode().Perm() == 0o444 {
		// Read-only already, but never renamed.
		if err := os.Remove(name); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if err != nil {
		return nil, err
	}
	p := &partial{file: f, hash: sha256.New()}
	if p.size, err = io.Copy(p.hash, ctxio.Reader(ctx, f)); err != nil {
		p.close(&err)
		return nil, err
	}
	return p, nil
}

func (p *partial) close(err *error) { fsatomic.CloseErr(err, p.file) }

// restart forgets all bytes.
func (p *partial) restart() error {
	p.hash.Reset()
	p.size = 0
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return p.file.Truncate(0)
}

// discard removes the file: its bytes are wrong, or there are none.
func (p *partial) discard() error {
	return os.Remove(p.file.Name())
}

// copy appends what r yields. Of what is more than the size nothing is stored,
// but counted and hashed.
func (p *partial) copy(ctx context.Context, r io.Reader, size int64) error {
	r = ctxio.Reader(ctx, r)
	n, err := io.Copy(io.MultiWriter(p.file, p.hash), io.LimitReader(r, limit(size)-p.size))
	p.size += n
	if err != nil || p.size < limit(size) {
		return err
	}
	n, err = io.Copy(p.hash, io.LimitReader(r, maxExcess))
	p.size += n
	return err
}

// limit is how many bytes a file of that size, 0 = unknown, may have.
func limit(size int64) int64 {
	if size == 0 {
		return MaxInput
	}
	return size
}

// commit checks a complete partial and gives it its name. The error of other
// bytes wraps [bundle.ErrMismatch] and says what was wanted and what came.
func (c *Cache) commit(p *partial, sum string, size int64) error {
	got := hex.EncodeToString(p.hash.Sum(nil))
	switch {
	case p.size >= limit(size)+maxExcess:
		return fmt.Errorf("want at most %d bytes, sha256:%s; got more than %d: %w", limit(size), sum, p.size, bundle.ErrMismatch)
	case size > 0 && p.size != size:
		return fmt.Errorf("want %d bytes, sha256:%s; got %d bytes, sha256:%s: %w", size, sum, p.size, got, bundle.ErrMismatch)
	case got != sum:
		return fmt.Errorf("want sha256:%s, got sha256:%s: %w", sum, got, bundle.ErrMismatch)
	}
	if err := errors.Join(p.file.Chmod(0o444), p.file.Sync()); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.Path(sum)), 0o755); err != nil {
		return err
	}
	if err := fsatomic.Rename(p.file.Name(), c.Path(sum)); err != nil {
		return err
	}
	info, err := p.file.Stat() // after the rename, which is a change to the inode
	if err != nil {
		return err
	}
	c.remember(sum, info)
	return nil
}
