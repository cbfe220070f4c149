// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/metalpack/metalpack/internal/filelock"
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
// not nil, is told which.
func (c *Cache) lock(ctx context.Context, sum string, waiting func(holder string)) (unlock func() error, err error) {
	path := filepath.Join(c.dir, "lock", sum)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return filelock.Announced(ctx, path, waiting)
}
