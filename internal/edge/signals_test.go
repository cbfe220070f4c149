// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package edge_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	goruntime "runtime"
	"syscall"
	"testing"

	"github.com/metalpack/metalpack/internal/edge"
)

// TestMain is also a program that sends two signals to itself.
func TestMain(m *testing.M) {
	var first, second syscall.Signal
	if n, _ := fmt.Sscan(os.Getenv("EDGE_SIGNALS"), &first, &second); n < 2 {
		os.Exit(m.Run())
	}
	ctx, stop := edge.Signals()
	_ = syscall.Kill(os.Getpid(), first)
	<-ctx.Done()
	stop() // as it does itself, soon
	// Which of its threads gets the second, and when, is the system's affair.
	for n := 0; n < 2000 || second == syscall.SIGTERM; n++ {
		_ = syscall.Kill(os.Getpid(), second)
		goruntime.Gosched()
	}
}

// TestSignals: the first signal asks a program to end. A second one ends it,
// unless it says that the terminal, or who reads, is gone.
func TestSignals(t *testing.T) {
	t.Parallel()
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("nohup has it ignored")
	}
	for _, tt := range []struct {
		first, second syscall.Signal
		goesOn        bool
	}{
		{syscall.SIGINT, syscall.SIGTERM, false},
		{syscall.SIGHUP, syscall.SIGTERM, false},
		{syscall.SIGHUP, syscall.SIGHUP, true},
		{syscall.SIGINT, syscall.SIGHUP, true},
		{syscall.SIGINT, syscall.SIGPIPE, true},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("EDGE_SIGNALS=%d %d", tt.first, tt.second))
		_ = cmd.Run() // its state tells
		if cmd.ProcessState.Success() != tt.goesOn {
			t.Errorf("%s, %s: it ended with %s", tt.first, tt.second, cmd.ProcessState)
		}
	}
}
