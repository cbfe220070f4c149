// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
)

// ExitPipe is what a shell makes of a program that SIGPIPE ends.
const ExitPipe = 128 + int(syscall.SIGPIPE)

// Signals returns the context that the signals end which ask a program to end:
// Ctrl-C, kill, and a terminal that is closed, unless nohup has that ignored. A
// second Ctrl-C or kill ends the program at once; a terminal that is closed is told
// twice, by the system and by the shell. A write to a pipe that nobody reads is an
// error and not the end, so that what is being written is finished or removed, and
// an engine is stopped.
func Signals() (ctx context.Context, stop context.CancelFunc) {
	unheard := make(chan os.Signal, 1) // who is notified there goes on
	signal.Notify(unheard, syscall.SIGPIPE)
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
		signal.Notify(unheard, syscall.SIGHUP)
	}
	ctx, stop = signal.NotifyContext(context.Background(), ends...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// Unread reports whether err says that nobody reads stdout any more: who did not
// read on has seen enough, and that is nothing to tell.
func (e *Env) Unread(err error) bool {
	out, ok := e.Stdout.(*os.File)
	if !ok {
		return false
	}
	failed, ok := errors.AsType[*fs.PathError](err)
	return ok && failed.Path == out.Name() && errors.Is(failed, syscall.EPIPE)
}
