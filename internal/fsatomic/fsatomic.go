// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package fsatomic publishes files, symlinks and directories so that another
// process, or the next boot, sees the old state or the new one and nothing
// between. Each function syncs what it wrote and then the parent directory,
// because a file's own fsync does not keep its name.
package fsatomic

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tempMark begins the name of whatever is not yet published.
const tempMark = ".fsatomic-"

// IsTemp reports whether name, without a directory, is one that this package
// uses before it publishes. A killed process leaves such names; who knows that
// nobody writes in a directory may remove them.
func IsTemp(name string) bool { return strings.HasPrefix(name, tempMark) }

// tempName returns a name for what will be path.
func tempName(path string) string {
	return filepath.Join(filepath.Dir(path), tempMark+rand.Text()[:12])
}

// WriteFile replaces path with data by temporary file, fsync and rename. The
// mode is perm, whatever the umask.
func WriteFile(path string, data []byte, perm fs.FileMode) (err error) {
	temp := tempName(path)
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := writeClose(f, data, perm); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return SyncDir(filepath.Dir(path))
}

func writeClose(f *os.File, data []byte, perm fs.FileMode) (err error) {
	defer CloseErr(&err, f)
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chmod(perm); err != nil {
		return err
	}
	return f.Sync()
}

// Symlink makes path a symlink to target by one rename, replacing what a
// former call left there.
func Symlink(target, path string) error {
	temp := tempName(path)
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return SyncDir(filepath.Dir(path))
}

// Rename moves a file or directory and syncs both parents.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if err := SyncDir(filepath.Dir(to)); err != nil || filepath.Dir(from) == filepath.Dir(to) {
		return err
	}
	return SyncDir(filepath.Dir(from))
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer CloseErr(&err, d)
	return d.Sync()
}

// CloseErr closes c and keeps its error if the function has none yet:
//
//	defer fsatomic.CloseErr(&err, f)
func CloseErr(err *error, c io.Closer) {
	if cerr := c.Close(); *err == nil {
		*err = cerr
	}
}
