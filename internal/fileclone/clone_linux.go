// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package fileclone

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func clone(src *os.File, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlFileClone(int(f.Fd()), int(src.Fd())); err != nil {
		return nil, errors.Join(&os.PathError{Op: "clone", Path: path, Err: err}, f.Close(), os.Remove(path))
	}
	return f, nil
}
