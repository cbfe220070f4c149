// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package child

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// sysProcAttr asks for a new group and for death with the parent.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// waitExited waits until the process has ended and leaves it unreaped, so that
// its group can be killed while the id is still taken.
func waitExited(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
