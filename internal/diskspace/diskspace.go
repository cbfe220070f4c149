// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package diskspace owns what is said of a disk that is too small: how much
// room there is, and the error that names the place, what is needed and what
// is free.
package diskspace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// Error says that the disk is too small. It is found before bytes are moved, or
// on the way when something else took the room.
type Error struct {
	Dir        string
	Need, Free int64 // bytes
	Err        error // of the disk
}

// Error implements error.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: needs %s, %s free", e.Dir, humanize.Bytes(uint64(max(e.Need, 0))), humanize.Bytes(uint64(max(e.Free, 0))))
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the disk's error.
func (e *Error) Unwrap() error { return e.Err }

// Free is the room in bytes that is left for the user where dir is, or will be.
func Free(dir string) (int64, error) {
	fs, err := disk(dir)
	if err != nil {
		return 0, fmt.Errorf("%s: free space: %w", dir, err)
	}
	return free(fs), nil
}

// Check refuses, with an [*Error], to begin what needs more bytes than are free
// where dir is, or will be. On a disk of which nobody can tell, such as one on a
// network that counts nothing, it is found on the way.
func Check(dir string, need int64) error {
	fs, err := disk(dir)
	if err != nil || fs.Blocks == 0 || need <= free(fs) {
		return nil //nolint:nilerr // see above
	}
	return &Error{Dir: dir, Need: need, Free: free(fs), Err: unix.ENOSPC}
}

func disk(dir string) (fs unix.Statfs_t, err error) {
	for {
		if _, err := os.Lstat(dir); err == nil || filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	err = unix.Statfs(dir, &fs)
	return fs, err
}

func free(fs unix.Statfs_t) int64 {
	return int64(fs.Bavail) * int64(fs.Bsize) //nolint:unconvert // the types differ between systems
}

// Full reports whether err is that of a full disk, or of a used up quota, and
// has not been explained yet.
func Full(err error) bool {
	_, counted := errors.AsType[*Error](err)
	return !counted && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT))
}

// Explain says of an error of a full disk where it is and how much is free; need
// is in bytes. Any other error stays as it is.
func Explain(err error, dir string, need int64) error {
	if !Full(err) {
		return err
	}
	room, serr := Free(dir)
	if serr != nil {
		return errors.Join(err, serr)
	}
	return &Error{Dir: dir, Need: need, Free: room, Err: err}
}
