// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"os"
	"syscall"
)

// stampOf returns the stamp of a file; ok is false if the system gives none.
func stampOf(info os.FileInfo) (s stamp, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return s, false
	}
	return stamp{dev: uint64(st.Dev), inode: st.Ino, size: st.Size, mtime: st.Mtimespec, ctime: st.Ctimespec}, true
}
