// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package filelock owns the advisory locks by which processes of this module
// share a directory. The system drops a lock with the process that holds it,
// so a lock that can be taken means that whoever left files behind is gone.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// poll is how often a lock that another process holds is tried.
const poll = 50 * time.Millisecond

// Exclusive takes the exclusive lock on a file, made if flag has os.O_CREATE,
// or on a directory with os.O_RDONLY. It waits until it is free or ctx is
// done.
func Exclusive(ctx context.Context, path string, flag int) (unlock func() error, err error) {
	l := open(path, flag)
	if _, err := l.TryLockContext(ctx, poll); err != nil {
		return nil, failed(ctx, path, err)
	}
	return l.Close, nil
}

// Try takes the exclusive lock if nobody has it; unlock is nil otherwise.
func Try(path string, flag int) (unlock func() error, err error) {
	l := open(path, flag)
	ok, err := l.TryLock()
	if err != nil || !ok {
		return nil, err
	}
	return l.Close, nil
}

// Shared takes a shared lock on a file or directory, as Exclusive does. If
// nobody else holds it sweep runs first, under the exclusive lock: what it
// finds of unfinished work belongs to nobody. Where the file system has no
// such locks, as for directories on NFS, nothing is swept and nothing locked.
func Shared(ctx context.Context, path string, flag int, sweep func() error) (unlock func() error, err error) {
	alone, err := Try(path, flag)
	if unsupported(err) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, failed(ctx, path, err)
	}
	if alone != nil {
		err := sweep()
		// Between this and the shared lock another process may sweep too; there
		// is nothing of ours yet.
		if cerr := alone(); err == nil {
			err = cerr
		}
		if err != nil {
			return nil, err
		}
	}
	l := open(path, flag)
	if _, err := l.TryRLockContext(ctx, poll); err != nil {
		return nil, failed(ctx, path, err)
	}
	return l.Close, nil
}

func open(path string, flag int) *flock.Flock {
	return flock.New(path, flock.SetFlag(flag), flock.SetPermissions(0o644))
}

// unsupported reports whether the file system cannot lock.
func unsupported(err error) bool {
	for _, no := range []error{syscall.EBADF, syscall.ENOLCK, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// failed names the lock; a done context is its own reason.
func failed(ctx context.Context, path string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("lock %s: %w", path, err)
}

// Create is the flag for a lock file that is made when it is missing.
const Create = os.O_CREATE | os.O_RDWR
