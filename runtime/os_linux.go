// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/metalpack/metalpack/internal/fsatomic"
)

// syncTree makes all that was written under dir durable.
func syncTree(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, d)
	return unix.Syncfs(int(d.Fd()))
}

// exchange swaps two directories in one step.
func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
