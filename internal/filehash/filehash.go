// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package filehash owns the hashing of a file on disk whose sha256 decides
// what it is.
package filehash

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// SHA256 returns the sha256 of a regular file, hex, and the file's state before
// it was read. Symlinks are followed. Errors wrap [bundle.ErrInvalid] for
// anything but a file, are those of the file system, or the cause of ctx.
func SHA256(ctx context.Context, path string) (sum string, before fs.FileInfo, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", nil, err
	}
	if !info.Mode().IsRegular() { // to open a FIFO takes until somebody writes, whatever ctx says
		return "", nil, fmt.Errorf("%s: not a regular file: %w", path, bundle.ErrInvalid)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer fsatomic.CloseErr(&err, f)
	if info, err = f.Stat(); err != nil {
		return "", nil, err
	}
	h := sha256.New()
	if _, err = io.Copy(h, ctxio.Reader(ctx, f)); err != nil {
		return "", nil, err
	}
	return hex.EncodeToString(h.Sum(nil)), info, nil
}
