// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package inputs owns the bytes that builds start from: a cache keyed by
// sha256, and the search for what is not in it.
//
// [Fetcher.Fetch] takes a list of [Want] and returns a path for each, looking
// in this order: the cache, the directories given (wheels/ beside the lock,
// --find-links), the file's own URL, and last the package index, which uv
// knows: one call tells the addresses of all that is still missing, matched by
// sha256. Addresses stay in memory.
//
// It promises that a [Cache] holds only files whose bytes were checked, that
// what does not match is not kept, that an interrupted download goes on where
// it stopped, also in another process, and that with a full cache neither uv
// nor a network is needed.
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
	"strconv"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/filelock"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// MaxInput is the cap on a file whose size nothing declares, in bytes.
const MaxInput = 16 << 30

// Cache is a directory of files named by their sha256: DIR/sha256/ab/<hex>,
// mode 0444. Several processes may use it at once.
type Cache struct{ dir string }

// NewCache returns the cache in a directory, which is made when first written
// to.
func NewCache(dir string) *Cache { return &Cache{dir: dir} }

// Dir returns the cache's directory.
func (c *Cache) Dir() string { return c.dir }

// Path returns where the file of that sha256 (hex) lies or would lie.
func (c *Cache) Path(sum string) string {
	return filepath.Join(c.dir, "sha256", prefix(sum), sum)
}

func prefix(sum string) string {
	if len(sum) < 2 {
		return "00"
	}
	return sum[:2]
}

// Verify reports whether the cache holds the file, reading all of it. A file
// that is damaged is removed and counts as absent.
func (c *Cache) Verify(ctx context.Context, sum string) (bool, error) {
	if err := checkSum(sum); err != nil {
		return false, err
	}
	got, err := hashFile(ctx, c.Path(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if got != sum {
		return false, os.Remove(c.Path(sum))
	}
	return true, nil
}

// Put stores what r yields under its sha256 and returns the path. Size 0 means
// unknown. Other bytes are not kept: the error wraps [bundle.ErrMismatch].
func (c *Cache) Put(ctx context.Context, sum string, size int64, r io.Reader) (_ string, err error) {
	if err := checkSum(sum); err != nil {
		return "", err
	}
	unlock, err := c.lock(ctx, sum)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	p, err := c.openPartial(ctx, sum)
	if err != nil {
		return "", err
	}
	defer p.close(&err)
	if err := p.restart(); err != nil {
		return "", err
	}
	if err := p.copy(ctx, r, size); err != nil {
		return "", errors.Join(err, p.discard())
	}
	return c.commit(p, sum, size)
}

// lock takes the file lock of a digest.
func (c *Cache) lock(ctx context.Context, sum string) (func() error, error) {
	dir := filepath.Join(c.dir, "lock")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return filelock.Exclusive(ctx, filepath.Join(dir, sum), filelock.Create)
}

// partial is a file on its way into the cache, with the hash of what it has.
type partial struct {
	file *os.File
	hash hash.Hash
	size int64
}

// openPartial opens what an earlier attempt left, or an empty file. The caller
// holds the lock of the digest.
func (c *Cache) openPartial(ctx context.Context, sum string) (_ *partial, err error) {
	dir := filepath.Join(c.dir, "partial")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, sum)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if errors.Is(err, fs.ErrPermission) { // read-only already, but never renamed
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

// discard removes the file: its bytes are wrong.
func (p *partial) discard() error {
	return os.Remove(p.file.Name())
}

// copy appends what r yields, up to the whole size and one byte.
func (p *partial) copy(ctx context.Context, r io.Reader, size int64) error {
	limit := size
	if limit == 0 {
		limit = MaxInput
	}
	n, err := io.Copy(io.MultiWriter(p.file, p.hash), io.LimitReader(ctxio.Reader(ctx, r), limit-p.size+1))
	p.size += n
	return err
}

// sum is the sha256 of what there is.
func (p *partial) sum() string { return hex.EncodeToString(p.hash.Sum(nil)) }

// commit checks a complete partial and gives it its name.
func (c *Cache) commit(p *partial, sum string, size int64) (string, error) {
	if size > 0 && p.size != size {
		more := strconv.FormatInt(p.size, 10)
		if p.size > size {
			more = "more"
		}
		return "", errors.Join(fmt.Errorf("want %d bytes, got %s: %w", size, more, bundle.ErrMismatch), p.discard())
	}
	if got := p.sum(); got != sum {
		return "", errors.Join(fmt.Errorf("want sha256:%s, got sha256:%s: %w", sum, got, bundle.ErrMismatch), p.discard())
	}
	if err := errors.Join(p.file.Chmod(0o444), p.file.Sync()); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(c.Path(sum)), 0o755); err != nil {
		return "", err
	}
	return c.Path(sum), fsatomic.Rename(p.file.Name(), c.Path(sum))
}

// checkSum refuses what is no sha256, before it becomes part of a path.
func checkSum(sum string) error {
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size || strings.ToLower(sum) != sum {
		return fmt.Errorf("sha256 %q: want 64 lower-case hex digits: %w", sum, bundle.ErrInvalid)
	}
	return nil
}

// hashFile returns the sha256 of a regular file.
func hashFile(ctx context.Context, path string) (_ string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer fsatomic.CloseErr(&err, f)
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a regular file: %w", path, bundle.ErrInvalid)
	}
	h := sha256.New()
	_, err = io.Copy(h, ctxio.Reader(ctx, f))
	return hex.EncodeToString(h.Sum(nil)), err
}
