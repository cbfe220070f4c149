// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package filestamp

import (
	"os"
	"syscall"
)

// Of returns the stamp of a file; ok is false if the system gives none.
func Of(info os.FileInfo) (s Stamp, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return s, false
	}
	return Stamp{dev: uint64(st.Dev), inode: st.Ino, size: st.Size, mtime: st.Mtimespec, ctime: st.Ctimespec}, true
}
