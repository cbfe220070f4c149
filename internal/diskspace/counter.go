// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package diskspace

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
)

// Counter counts files once, however many names they have. The zero value has
// counted nothing.
type Counter struct {
	seen map[inode]bool
}

type inode struct{ dev, ino uint64 }

// First reports whether the file that info describes is met for the first time.
func (c *Counter) First(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	id := inode{uint64(st.Dev), st.Ino} //nolint:unconvert // the types differ between systems
	if c.seen[id] {
		return false
	}
	if c.seen == nil {
		c.seen = map[inode]bool{}
	}
	c.seen[id] = true
	return true
}

// Walk gives add the bytes of every regular file below dir that is met for the
// first time. What does not exist, or goes away meanwhile, is nothing.
func (c *Counter) Walk(dir string, add func(bytes int64)) error {
	return filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && c.First(info) {
			add(info.Size())
		}
		return err
	})
}

// Names is how many names the file that info describes has.
func Names(info fs.FileInfo) int {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 1
	}
	return int(st.Nlink)
}
