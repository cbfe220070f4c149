// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package fileclone

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// clone leaves owner and access list behind. Flags come along, and one of them,
// "locked" in the Finder, would keep the clone from being renamed.
func clone(src *os.File, path string) (*os.File, error) {
	err := unix.Fclonefileat(int(src.Fd()), unix.AT_FDCWD, path, unix.CLONE_NOFOLLOW|unix.CLONE_NOOWNERCOPY)
	if err != nil {
		return nil, &os.PathError{Op: "clone", Path: path, Err: err}
	}
	err = errors.Join(unix.Chflags(path, 0), os.Chmod(path, 0o600))
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(path, os.O_RDWR, 0); err == nil {
			return f, nil
		}
	}
	return nil, errors.Join(err, os.Remove(path))
}
