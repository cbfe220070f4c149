// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package filelock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Times and sizes of announced locks.
const (
	briefly   = 100 * time.Millisecond // a wait that is not worth a word
	maxHolder = 256                    // bytes of the line in a lock file
)

// Announced takes the exclusive lock on a file, which is made and gets a line
// that says who has it. When another process has the lock, waiting, if not nil,
// is told that line. The file stays: a lock on a file that somebody deletes is
// two locks.
func Announced(ctx context.Context, path string, waiting func(holder string)) (unlock func() error, err error) {
	unlock, err = Try(path, Create)
	if err != nil {
		return nil, failed(ctx, path, err)
	}
	if unlock == nil {
		if unlock, err = announced(ctx, path, waiting); err != nil {
			return nil, err
		}
	}
	// Only told to those who wait: a full disk must not end it here.
	_ = os.WriteFile(path, fmt.Appendf(nil, "pid %d\n", os.Getpid()), 0o644)
	return unlock, nil
}

// announced waits for a lock that somebody has.
func announced(ctx context.Context, path string, waiting func(holder string)) (unlock func() error, err error) {
	short, cancel := context.WithTimeout(ctx, briefly) // the line is written only after the lock was got
	defer cancel()
	unlock, err = Exclusive(short, path, Create)
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return unlock, err
	}
	if waiting != nil {
		waiting(holderOf(path))
	}
	return Exclusive(ctx, path, Create)
}

// holderOf says who wrote a lock file last.
func holderOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown process"
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxHolder))
	if s := strings.TrimSpace(string(data)); err == nil && s != "" {
		return s
	}
	return "unknown process"
}
