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
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// WriteFile replaces path with data by temporary file, fsync and rename.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	if err := renameio.WriteFile(path, data, perm, renameio.WithStaticPermissions(perm), renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Symlink makes path a symlink to target by one rename, replacing what a
// former call left there.
func Symlink(target, path string) error {
	temp := fmt.Sprintf("%s.%s.tmp", path, rand.Text()[:8])
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
