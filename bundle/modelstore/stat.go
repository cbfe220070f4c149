// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"fmt"
	"os"
	"syscall"
)

// distrust says why a directory of the store cannot be trusted, or "".
func distrust(info os.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode()&os.ModeSymlink != 0:
		return "a symlink inside the store"
	case !info.IsDir():
		return "not a directory"
	case !ok:
		return ""
	case int64(st.Uid) != int64(os.Geteuid()) && st.Uid != 0:
		return fmt.Sprintf("belongs to another user (uid %d)", st.Uid)
	case info.Mode()&0o002 != 0, info.Mode()&0o020 != 0 && st.Gid != st.Uid: // a group of one's own is no other user
		return fmt.Sprintf("others can write to it (mode %#o)", info.Mode().Perm())
	}
	return ""
}
