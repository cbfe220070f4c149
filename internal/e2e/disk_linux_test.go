// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// mayMount reports whether scripts can have disks of their own.
func mayMount() bool {
	dir, err := os.MkdirTemp("", "metalpack-mount-*")
	if err != nil {
		return false
	}
	mounted := mount(dir, "4k") == nil && unix.Unmount(dir, unix.MNT_DETACH) == nil
	return os.Remove(dir) == nil && mounted
}

func mount(dir, size string) error { return unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size) }

// cmdDisk makes a directory a small disk until the script ends.
func cmdDisk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: disk DIR SIZE")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Clean(dir), 0o755))
	ts.Check(mount(dir, args[1]))
	ts.Defer(func() { ts.Check(unix.Unmount(dir, unix.MNT_DETACH)) })
}
