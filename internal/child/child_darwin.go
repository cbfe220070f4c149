// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package child

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// sysProcAttr asks for a new group. macOS has no parent death signal.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// waitExited waits until the process has ended and leaves it unreaped, so that
// its group can be killed while the id is still taken. waitid of macOS also
// returns for stopped processes (golang/go#19314), hence kqueue. Any error
// means that the process has ended already or that the caller's Wait will tell.
func waitExited(pid int) {
	kq, err := unix.Kqueue()
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(kq) }() // nothing was written
	change := unix.Kevent_t{Ident: uint64(pid), Filter: unix.EVFILT_PROC, Flags: unix.EV_ADD | unix.EV_ONESHOT, Fflags: unix.NOTE_EXIT}
	events := make([]unix.Kevent_t, 1)
	changes := []unix.Kevent_t{change}
	for {
		_, err := unix.Kevent(kq, changes, events, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
