// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package child

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Scratch is a private directory for a program: its HOME, its TMPDIR.
type Scratch struct {
	Path string

	lock *os.File // the directory, locked as long as it is used
}

// scratchAttempts is how often a directory is made that another process, which
// takes it for abandoned before it is locked, removes.
const scratchAttempts = 10

// NewScratch makes a directory whose name begins with prefix, under parent or,
// if that is "", where temporary files lie. It removes those of the same prefix
// and user that killed processes left. The caller calls [Scratch.Remove].
func NewScratch(parent, prefix string) (*Scratch, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	sweepScratch(parent, prefix)
	var err error
	for range scratchAttempts {
		var dir string
		if dir, err = os.MkdirTemp(parent, prefix); err != nil {
			return nil, err
		}
		var lock *os.File
		if lock, err = lockDir(dir); err != nil {
			continue
		}
		if _, err = os.Lstat(dir); err == nil {
			return &Scratch{Path: dir, lock: lock}, nil
		}
		err = errors.Join(err, lock.Close())
	}
	return nil, err
}

// Remove removes the directory.
func (s *Scratch) Remove() error {
	return errors.Join(os.RemoveAll(s.Path), s.lock.Close())
}

// lockDir opens a directory and locks it; the lock ends with this process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweepScratch removes the directories that nobody has locked. What cannot be
// removed stays: tidiness is no reason to fail.
func sweepScratch(parent, prefix string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || !e.IsDir() || digits == "" || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		lock, err := lockDir(filepath.Join(parent, e.Name()))
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(int(lock.Fd()), &st) == nil && int(st.Uid) == os.Getuid() {
			_ = os.RemoveAll(filepath.Join(parent, e.Name()))
		}
		_ = lock.Close() // a directory that was only read
	}
}
