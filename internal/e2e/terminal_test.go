// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdTerminal runs a program whose terminal is a pseudo-terminal, stdout apart.
// When WORD appears on the screen it types Ctrl-C; "" lets the program end by
// itself. All that the program wrote to the terminal is FILE then.
func cmdTerminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: terminal FILE WORD PROGRAM ARG…")
	}
	screen, tty, err := pty.Open()
	ts.Check(err)
	defer func() { _ = screen.Close() }()
	ts.Check(pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 80}))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	program, err := exec.LookPath(args[2])
	ts.Check(err)
	cmd := exec.CommandContext(ctx, program, args[3:]...)
	cmd.Dir, cmd.Stdin, cmd.Stderr = ts.MkAbs("."), tty, tty
	cmd.Env = []string{"TERM=xterm"}
	for _, key := range []string{"HOME", "CI", "NO_COLOR", "XDG_CACHE_HOME", "DOCKER_CONFIG", "PATH", "METALRUN_HOME", "MODELS_PATH"} {
		cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // fd 0 is the terminal
	ts.Check(cmd.Start())
	ts.Check(tty.Close())
	var out bytes.Buffer
	var reader sync.WaitGroup
	reader.Go(func() {
		typed, buf := args[1] == "", make([]byte, 4096)
		for {
			n, err := screen.Read(buf)
			out.Write(buf[:n])
			if !typed && bytes.Contains(out.Bytes(), []byte(args[1])) {
				typed = true
				_, _ = screen.WriteString("\x03")
			}
			if err != nil { // EIO, when the program has ended
				return
			}
		}
	})
	err = cmd.Wait()
	reader.Wait()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out.Bytes(), 0o644))
	if code := cmd.ProcessState.ExitCode(); args[1] == "" && err != nil || args[1] != "" && code != 130 {
		ts.Fatalf("exit code %d: %v\n%q", code, err, out.Bytes())
	}
}
