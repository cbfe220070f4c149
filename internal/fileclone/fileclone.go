// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package fileclone owns copies that move no byte: two files that share their
// blocks until one of them is written to, as APFS, Btrfs and XFS have them.
package fileclone

import "os"

// Clone makes path, which is not there, a file with the content of src, mode
// 0600, and opens it at its beginning. The error says why that cannot be, mostly
// that the file system has no clones or is another one; then nothing is left at
// path.
func Clone(src *os.File, path string) (*os.File, error) { return clone(src, path) }

// File is an open file that can become its own clone, a bundle.Cloner.
type File struct{ *os.File }

// CloneTo makes path, which is not there, a clone, and goes on with that in the
// place of the file. After an error all is as before, as after that of [Clone].
func (f *File) CloneTo(path string) error {
	c, err := Clone(f.File, path)
	if err != nil {
		return err
	}
	f.File, c = c, f.File
	return c.Close()
}
