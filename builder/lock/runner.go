// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Command is a program to run.
type Command struct {
	Dir  string   // working directory
	Env  []string // added to the environment of this process
	Argv []string

	Stderr io.Writer // gets what it writes to standard error, too; nil = nobody
}

// Runner runs programs. Tests put their own in the place of [ExecRunner].
type Runner interface {
	// Run runs a command to its end and returns its standard output. The
	// error of a command that failed ends with what it wrote to standard
	// error.
	Run(ctx context.Context, c Command) ([]byte, error)
}

// ExecRunner runs real programs.
type ExecRunner struct{}

// Limits on a program that ExecRunner runs.
const (
	maxOutput = 1 << 20         // bytes kept of each stream
	waitDelay = 5 * time.Second // for pipes held open after a kill
)

// Run implements [Runner]. An ended context kills the program.
func (ExecRunner) Run(ctx context.Context, c Command) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.WaitDelay = waitDelay
	stdout, stderr := new(cappedBuffer), new(cappedBuffer)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if c.Stderr != nil {
		cmd.Stderr = io.MultiWriter(stderr, c.Stderr)
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// cappedBuffer keeps the first maxOutput bytes and drops the rest.
type cappedBuffer struct{ bytes.Buffer }

// Write implements io.Writer and never fails.
func (b *cappedBuffer) Write(p []byte) (int, error) {
	if room := maxOutput - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
