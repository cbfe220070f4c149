// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/metalpack/metalpack/bundle"
)

// lockRetry is how often a waiting process asks for the lock.
const lockRetry = 100 * time.Millisecond

// maxHolder caps what is read of the line in the lock file.
const maxHolder = 256

// lock takes the store lock, waiting for another process that has it, and
// returns the function that gives it back. The file stays: a lock on a file
// that somebody deletes is two locks.
func (h *Home) lock(ctx context.Context, events bundle.EventFunc) (unlock func() error, err error) {
	if err := h.prepare(); err != nil {
		return nil, err
	}
	l := flock.New(h.store(lockFile), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err == nil && !ok {
		// A moment's wait is not worth a word, and the holder's name is
		// written only after it got the lock.
		ok, err = tryFor(ctx, l, lockRetry)
	}
	if err == nil && !ok {
		events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: fmt.Sprintf("another install is running (%s); waiting for it", lockHolder(l.Path()))})
		ok, err = l.TryLockContext(ctx, lockRetry)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil && !ok {
		err = errors.New("not given")
	}
	if err == nil {
		// Only told to those who wait: a full disk must not end it here.
		_ = os.WriteFile(l.Path(), fmt.Appendf(nil, "pid %d\n", os.Getpid()), 0o600)
		err = sweep(filepath.Dir(l.Path()))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", l.Path(), err), l.Close())
	}
	return l.Close, nil
}

// tryFor waits that long for the lock. Time that runs out is no error.
func tryFor(ctx context.Context, l *flock.Flock, d time.Duration) (bool, error) {
	short, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	ok, err := l.TryLockContext(short, d/10)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = nil
	}
	return ok, err
}

// lockHolder says who wrote the lock file last.
func lockHolder(path string) string {
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
