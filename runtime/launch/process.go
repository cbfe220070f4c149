// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is a program that leads a process group of its own.
type process struct {
	cmd   *exec.Cmd
	grace time.Duration
	done  chan struct{}
	err   error // of waiting; after done
	stop  sync.Once
}

// spawnGroup starts cmd as the leader of a new process group.
func spawnGroup(cmd *exec.Cmd, grace time.Duration) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, grace: grace, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		// The leader is gone; what it started holds memory and is of no use.
		_ = p.signal(syscall.SIGKILL) // nobody may be left
		close(p.done)
	}()
	return p, nil
}

// Wait returns how the program ended, when all of its group was told to.
func (p *process) Wait() error {
	<-p.done
	return p.err
}

// Stop sends TERM to the group, and KILL to what is there after the grace
// time. It returns when the leader has ended.
func (p *process) Stop() {
	p.stop.Do(func() {
		_ = p.signal(syscall.SIGTERM) // it may have ended
		timer := time.NewTimer(p.grace)
		defer timer.Stop()
		select {
		case <-p.done:
		case <-timer.C:
			_ = p.signal(syscall.SIGKILL) // likewise
		}
	})
	<-p.done
}

// signal sends to the whole group.
func (p *process) signal(sig syscall.Signal) error {
	err := syscall.Kill(-p.cmd.Process.Pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
