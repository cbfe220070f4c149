// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/metalpack/metalpack/internal/fsatomic"
)

// syncTree makes all that was written under dir durable: every file goes to
// the drive, then one F_FULLFSYNC, which [os.File.Sync] is here, makes the
// drive write it down.
func syncTree(dir string) error {
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() == fs.ModeSymlink {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(unix.Fsync(int(f.Fd())), f.Close())
	})
	if err != nil {
		return err
	}
	return fsatomic.SyncDir(dir)
}

// exchange swaps two directories in one step.
func exchange(a, b string) error { return unix.RenamexNp(a, b, unix.RENAME_SWAP) }
