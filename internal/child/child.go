// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"syscall"
	"time"
)

// Defaults.
const (
	DefaultGrace = 5 * time.Second // between SIGTERM and SIGKILL
	DefaultTail  = 32 << 10        // bytes kept of each end of an output
)

// pipeDelay bounds the wait for the output of processes that left the group.
const pipeDelay = time.Second

// Spec says what to run.
type Spec struct {
	Path   string        // of the program, absolute
	Args   []string      // without the program's name
	Env    []string      // NAME=value; nothing else is passed on
	Dir    string        // working directory
	Stdout io.Writer     // nil = discarded by Start, captured by Run
	Stderr io.Writer     // likewise
	Grace  time.Duration // between SIGTERM and SIGKILL; 0 = [DefaultGrace]
}

// ExitError says how a program ended that did not end well.
type ExitError struct {
	Path   string
	Code   int            // exit status, -1 if a signal ended it
	Signal syscall.Signal // that ended it, 0 if none
	Cause  error          // why it was ended from here: the context's cause; nil if it ended by itself
	Err    error          // an [*exec.ExitError]
}

// Error implements error.
func (e *ExitError) Error() string {
	text := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != 0 {
		text = "ended by signal: " + e.Signal.String()
	}
	if e.Cause != nil {
		text = e.Cause.Error()
	}
	return filepath.Base(e.Path) + ": " + text
}

// Unwrap returns the errors below.
func (e *ExitError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Cause}
}

// Process is a program that was started.
type Process struct {
	spec  Spec
	cmd   *exec.Cmd
	guard *guard
	done  chan struct{}
	err   error // valid after done

	mu     sync.Mutex
	exited bool  // the group's id may belong to others now
	cause  error // why the process is being ended
}

// Start starts a program. When ctx ends the program is ended as by
// [Process.Stop]. The caller must call [Process.Wait].
func Start(ctx context.Context, spec Spec) (*Process, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if spec.Grace == 0 {
		spec.Grace = DefaultGrace
	}
	// The context is not handed on: it would kill the leader alone.
	cmd := exec.Command(spec.Path, spec.Args...) //nolint:noctx // watch ends the whole group when ctx ends
	cmd.Env = append([]string{}, spec.Env...)    // nil would inherit
	cmd.Dir, cmd.Stdout, cmd.Stderr = spec.Dir, spec.Stdout, spec.Stderr
	cmd.SysProcAttr = sysProcAttr()
	cmd.WaitDelay = pipeDelay
	g, err := newGuard()
	if err != nil {
		return nil, err
	}
	p := &Process{spec: spec, cmd: cmd, guard: g, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(spec.Path), err)
	}
	go p.watch(ctx)
	return p, nil
}

// run starts the program and reaps it, all on one thread: the parent death
// signal of Linux is tied to the thread that forked (golang/go#27505).
func (p *Process) run(started chan<- error) {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	err := p.cmd.Start()
	if err != nil {
		p.guard.dismiss()
		started <- err
		return
	}
	p.guard.watch(p.cmd.Process.Pid)
	started <- nil
	waitExited(p.cmd.Process.Pid)
	p.mu.Lock()
	p.kill(syscall.SIGKILL) // what is left of the group
	p.exited = true
	cause := p.cause
	p.mu.Unlock()
	p.guard.dismiss()
	p.err = p.exitError(p.cmd.Wait(), cause)
	close(p.done)
}

// exitError types what Wait of the command returned.
func (p *Process) exitError(err, cause error) error {
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // the program itself ended well
	}
	if err == nil {
		return nil
	}
	e := &ExitError{Path: p.spec.Path, Code: -1, Cause: cause, Err: err}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		e.Code = exit.ExitCode()
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			e.Signal = status.Signal()
		}
	}
	return e
}

// watch ends the program when ctx ends.
func (p *Process) watch(ctx context.Context) {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.mu.Lock()
		p.cause = context.Cause(ctx)
		p.mu.Unlock()
		p.Stop()
	}
}

// kill signals the group. The caller holds the lock and knows that the leader
// has not been reaped. An error means that nobody is left to signal.
func (p *Process) kill(sig syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, sig) }

// signal signals the group unless it is gone.
func (p *Process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.exited {
		p.kill(sig)
	}
}

// Done is closed when the program has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the program and of its group. It may be called
// more than once. The error is an [*ExitError], or nil for exit status 0.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Stop ends the process group, SIGTERM first, SIGKILL after the grace time,
// and returns when it is gone. It takes no context: the grace time is its
// bound.
func (p *Process) Stop() {
	p.signal(syscall.SIGTERM)
	grace := time.NewTimer(p.spec.Grace)
	defer grace.Stop()
	select {
	case <-p.done:
		return
	case <-grace.C:
	}
	p.signal(syscall.SIGKILL)
	<-p.done
}

// Result is what a program left.
type Result struct {
	Stdout   string // the ends of it, see [Tail]
	Stderr   string
	Duration time.Duration
}

// Run runs a program to its end and captures the output that Spec does not
// send elsewhere. Errors are those of [Start] and [Process.Wait]; the result is
// valid with an error too.
func Run(ctx context.Context, spec Spec) (Result, error) {
	stdout, stderr := NewTail(DefaultTail), NewTail(DefaultTail)
	if spec.Stdout == nil {
		spec.Stdout = stdout
	}
	if spec.Stderr == nil {
		spec.Stderr = stderr
	}
	begin := time.Now()
	p, err := Start(ctx, spec)
	if err == nil {
		err = p.Wait()
	}
	return Result{Stdout: stdout.String(), Stderr: stderr.String(), Duration: time.Since(begin)}, err
}
