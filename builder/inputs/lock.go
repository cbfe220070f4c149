// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/metalpack/metalpack/internal/filelock"
)

// Times and sizes of locks.
const (
	briefly   = 200 * time.Millisecond // a wait that is not worth a word
	maxHolder = 256                    // bytes of the line in a lock file
)

// Hold keeps what is in the cache from being pruned, in this process and in
// others, until release is called. It makes the directory.
func (c *Cache) Hold(ctx context.Context) (release func() error, err error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return filelock.Shared(ctx, c.dir, os.O_RDONLY, func() error { return nil })
}

// lock takes the lock of a digest. When another process has it, waiting, if
// not nil, is told which. The file stays: a lock on a file that somebody
// deletes is two locks.
func (c *Cache) lock(ctx context.Context, sum string, waiting func(holder string)) (unlock func() error, err error) {
	path := filepath.Join(c.dir, "lock", sum)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	unlock, err = lockWithin(ctx, path, briefly)
	if err == nil && unlock == nil {
		if waiting != nil {
			waiting(holderOf(path))
		}
		unlock, err = filelock.Exclusive(ctx, path, filelock.Create)
	}
	if err != nil {
		return nil, err
	}
	// Only told to those who wait: a full disk must not end it here.
	_ = os.WriteFile(path, fmt.Appendf(nil, "pid %d\n", os.Getpid()), 0o644)
	return unlock, nil
}

// lockWithin takes a lock that is free, or becomes free in that time; unlock is
// nil otherwise.
func lockWithin(ctx context.Context, path string, d time.Duration) (unlock func() error, err error) {
	short, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	unlock, err = filelock.Exclusive(short, path, filelock.Create)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, nil
	}
	return unlock, err
}

// holderOf says who wrote a lock file last.
func holderOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxHolder))
	if s := strings.TrimSpace(string(data)); err == nil && s != "" {
		return s
	}
	return "unknown"
}
