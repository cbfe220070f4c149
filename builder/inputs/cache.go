// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/cachedir"
	"github.com/metalpack/metalpack/internal/filehash"
	"github.com/metalpack/metalpack/internal/filestamp"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Cache is a directory of files named by their sha256: DIR/sha256/ab/<hex>,
// mode 0444, each with a record beside it of the state in which it was found
// right. Several processes may use it at once.
type Cache struct{ dir string }

// recordSuffix ends the name of a file's record: its [filestamp.Stamp].
const recordSuffix = ".verified"

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

// Verify reports whether the cache holds the file. One whose record fits is
// not read again; any other is, and removed and absent if it is damaged.
func (c *Cache) Verify(ctx context.Context, sum string) (bool, error) {
	if err := checkSum(sum); err != nil {
		return false, err
	}
	info, err := os.Lstat(c.Path(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if c.remembered(sum, info) {
		cachedir.Touch(c.Path(sum) + recordSuffix)
		return true, nil
	}
	return c.Rehash(ctx, sum)
}

// Rehash is Verify without trust in the record: it reads all of the file.
func (c *Cache) Rehash(ctx context.Context, sum string) (bool, error) {
	if err := checkSum(sum); err != nil {
		return false, err
	}
	got, before, err := filehash.SHA256(ctx, c.Path(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	after, err := os.Lstat(c.Path(sum))
	if err != nil {
		return false, err
	}
	was, ok := filestamp.Of(before)
	now, _ := filestamp.Of(after)
	switch {
	case ok && was != now:
		return c.Rehash(ctx, sum) // another process healed it meanwhile
	case got != sum:
		return false, errors.Join(c.forget(sum), os.Remove(c.Path(sum)))
	}
	c.remember(sum, before)
	return true, nil
}

// remembered reports whether a file is as it was when it was found right.
func (c *Cache) remembered(sum string, info fs.FileInfo) bool {
	now, ok := filestamp.Of(info)
	if !ok || !info.Mode().IsRegular() {
		return false
	}
	record, err := os.ReadFile(c.Path(sum) + recordSuffix)
	return err == nil && string(record) == now.String()
}

// remember notes the state in which a file was found right. A file is written
// once, before it has its name, and read-only from then on, so that no change
// hides in the tick of the clock in which it was hashed. Without a record, as
// in a cache that cannot be written, a file is read again each time.
func (c *Cache) remember(sum string, info fs.FileInfo) {
	if now, ok := filestamp.Of(info); ok {
		_ = fsatomic.WriteFile(c.Path(sum)+recordSuffix, []byte(now.String()), 0o644)
	}
}

// forget removes a record.
func (c *Cache) forget(sum string) error {
	if err := os.Remove(c.Path(sum) + recordSuffix); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Put stores what r yields under its sha256 and returns the path. Size 0 means
// unknown. Other bytes are not kept: the error wraps [bundle.ErrMismatch].
func (c *Cache) Put(ctx context.Context, sum string, size int64, r io.Reader) (_ string, err error) {
	if err := checkSum(sum); err != nil {
		return "", err
	}
	release, err := c.Hold(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, release()) }()
	unlock, err := c.lock(ctx, sum, nil)
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
	err = p.copy(ctx, r, size)
	if err == nil {
		err = c.commit(p, sum, size)
	}
	if err != nil {
		return "", errors.Join(err, p.discard())
	}
	return c.Path(sum), nil
}

// checkSum refuses what is no sha256, before it becomes part of a path.
func checkSum(sum string) error {
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size || strings.ToLower(sum) != sum {
		return fmt.Errorf("sha256 %q: want 64 lower-case hex digits: %w", sum, bundle.ErrInvalid)
	}
	return nil
}
