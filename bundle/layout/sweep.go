// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/metalpack/metalpack/internal/filelock"
)

// partialPrefix begins the name of a blob that is being written.
const partialPrefix = ".partial-"

// lockBlobs takes the lock that every writer of a directory shares, on the
// directory of the blobs. Whoever finds it free clears what killed writers
// left.
func lockBlobs(ctx context.Context, dir string) (unlock func() error, err error) {
	blobs := filepath.Join(dir, "blobs", "sha256")
	return filelock.Shared(ctx, blobs, os.O_RDONLY, func() error {
		return errors.Join(removePrefixed(blobs, partialPrefix), removePrefixed(dir, ".index.json"))
	})
}

// removePrefixed removes the files in dir whose names begin with prefix; those
// of another user stay.
func removePrefixed(dir, prefix string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && strings.HasPrefix(e.Name(), prefix) {
			err := ignoreMissing(os.Remove(filepath.Join(dir, e.Name())))
			if err != nil && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		}
	}
	return nil
}

// makeStaging makes and locks the staging directory of an archive, under the
// lock of its parent, and clears those of killed writers: nobody holds their
// locks.
func makeStaging(ctx context.Context, file string) (dir string, unlock func() error, err error) {
	parent, prefix := filepath.Dir(file), "."+filepath.Base(file)+".staging-"
	release, err := filelock.Exclusive(ctx, parent, os.O_RDONLY)
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	entries, err := os.ReadDir(parent)
	if err != nil {
		return "", nil, err
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), prefix) {
			clearStaging(filepath.Join(parent, e.Name()))
		}
	}
	if dir, err = os.MkdirTemp(parent, prefix); err != nil {
		return "", nil, err
	}
	unlock, err = filelock.Exclusive(ctx, dir, os.O_RDONLY)
	if err != nil {
		err = errors.Join(err, os.Remove(dir))
	}
	return dir, unlock, err
}

// clearStaging removes a staging directory that nobody holds. One that cannot
// be locked or removed, another user's say, is left: it is in nobody's way.
func clearStaging(dir string) {
	unlock, err := filelock.Try(dir, os.O_RDONLY)
	if err != nil || unlock == nil {
		return
	}
	_ = os.RemoveAll(dir)
	_ = unlock()
}
