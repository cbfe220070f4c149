// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
)

// exitPipe is what a shell makes of a program that SIGPIPE ends.
const exitPipe = 128 + int(syscall.SIGPIPE)

// Signals returns the context that the signals end which ask a program to end:
// Ctrl-C, kill, and a terminal that is closed, unless nohup has that ignored. A
// second one ends the program at once. A write to a pipe that nobody reads is an
// error and not the end, so that an engine is stopped and what it had is removed.
func Signals() (ctx context.Context, stop context.CancelFunc) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop = signal.NotifyContext(context.Background(), ends...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// unread reports whether err says that nobody reads stdout any more.
func unread(err error) bool {
	e, ok := errors.AsType[*fs.PathError](err)
	return ok && e.Path == os.Stdout.Name() && errors.Is(e, syscall.EPIPE)
}
