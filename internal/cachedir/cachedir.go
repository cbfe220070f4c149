// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package cachedir owns what the caches of this program have in common: what
// lies in them, when it was last used, and its removal.
//
// The use of a file is remembered as the time of its record beside it, so that
// nothing about the file itself changes, and only once a day.
package cachedir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/metalpack/metalpack/internal/filelock"
)

// Item is what a cache holds or drops as a whole.
type Item struct {
	Kind  string   // inputs, layers, interpreters, partial, uv, …
	Paths []string // what makes it count comes first, and goes first
	Files int      // records apart
	Bytes int64
	Used  time.Time // last
}

// Alone waits until nobody uses the cache in a directory, which its users lock,
// and keeps it so until release is called; waiting is called if that takes a
// while. A cache that is not there is nobody's.
func Alone(ctx context.Context, dir string, waiting func()) (release func() error, err error) {
	if _, err := os.Stat(dir); err != nil {
		return func() error { return nil }, nil //nolint:nilerr // nothing to lock
	}
	release, err = filelock.Try(dir, os.O_RDONLY)
	if err != nil || release != nil {
		return release, err
	}
	waiting()
	return filelock.Exclusive(ctx, dir, os.O_RDONLY)
}

// NewItem describes files, or a directory with all below it. What is not there
// is left out; false means that nothing is.
func NewItem(kind string, paths ...string) (Item, bool, error) {
	item := Item{Kind: kind}
	for i, p := range paths {
		err := filepath.WalkDir(p, func(_ string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			if info.ModTime().After(item.Used) {
				item.Used = info.ModTime()
			}
			if !info.IsDir() {
				if i == len(paths)-1 {
					item.Files++
				}
				item.Bytes += info.Size()
			}
			return nil
		})
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return item, false, err
		}
		item.Paths = append(item.Paths, p)
	}
	return item, len(item.Paths) > 0, nil
}

// Remove removes the item, and the directory it was in if nothing else is
// there.
func (i Item) Remove() error {
	for _, p := range i.Paths {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
		_ = os.Remove(filepath.Dir(p)) // which refuses a directory with something in it
	}
	return nil
}

// day is how exactly a use is remembered.
const day = 24 * time.Hour

// Touch remembers that what the record at path describes is used now. In a
// cache that cannot be written there is nobody to remember it for.
func Touch(path string) {
	now := time.Now()
	if info, err := os.Stat(path); err == nil && now.Sub(info.ModTime()) >= day {
		_ = os.Chtimes(path, now, now)
	}
}
