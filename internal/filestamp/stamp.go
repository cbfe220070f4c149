// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package filestamp owns the stamp by which a file is known to be as it was: as
// long as all of it stays the same, what was hashed once need not be hashed
// again. A writer can set mtime back, but not ctime. Who owns the file keeps
// the stamp beside it; of other people's files a [Memo] remembers what they hash
// to.
package filestamp

import (
	"fmt"
	"syscall"
)

// Stamp identifies the state of a file: where it is, its size in bytes, and
// when it and its inode last changed. Stamps can be compared.
type Stamp struct {
	dev, inode   uint64
	size         int64
	mtime, ctime syscall.Timespec
}

// String is the stamp as one line, to be kept beside the file.
func (s Stamp) String() string {
	return fmt.Sprintf("%d %d %d %d.%09d %d.%09d\n", s.dev, s.inode, s.size, s.mtime.Sec, s.mtime.Nsec, s.ctime.Sec, s.ctime.Nsec)
}
