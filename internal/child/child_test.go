// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func sh(script string) Spec {
	return Spec{Path: "/bin/sh", Args: []string{"-c", script}, Dir: "/", Grace: 200 * time.Millisecond}
}

func TestRunCaptures(t *testing.T) {
	t.Parallel()
	res, err := Run(t.Context(), sh("echo out; echo err >&2"))
	if err != nil || res.Stdout != "out\n" || res.Stderr != "err\n" {
		t.Fatalf("got %+v, %v", res, err)
	}
}

func TestEnvironmentFromNothing(t *testing.T) {
	t.Setenv("METALPACK_CANARY", "1")
	res, err := Run(t.Context(), Spec{Path: "/usr/bin/env", Env: []string{"A=b"}, Dir: "/"})
	if err != nil || res.Stdout != "A=b\n" {
		t.Fatalf("environment %q, %v", res.Stdout, err)
	}
	if res, err = Run(t.Context(), Spec{Path: "/usr/bin/env", Dir: "/"}); err != nil || res.Stdout != "" {
		t.Fatalf("environment %q, %v", res.Stdout, err)
	}
}

func TestExitError(t *testing.T) {
	t.Parallel()
	_, err := Run(t.Context(), sh("exit 7"))
	exit, ok := errors.AsType[*ExitError](err)
	if !ok || exit.Code != 7 || exit.Signal != 0 || exit.Error() != "sh: exit status 7" {
		t.Fatalf("got %v", err)
	}
	if _, ok := errors.AsType[*exec.ExitError](err); !ok {
		t.Error("no *exec.ExitError below")
	}
	_, err = Run(t.Context(), sh("kill -SEGV $$"))
	if exit, ok := errors.AsType[*ExitError](err); !ok || exit.Signal != syscall.SIGSEGV {
		t.Fatalf("got %v", err)
	}
}

func TestNoSuchProgram(t *testing.T) {
	t.Parallel()
	if _, err := Run(t.Context(), Spec{Path: "/nonexistent/x", Dir: "/"}); err == nil {
		t.Fatal("no error")
	}
}

// startWithGrandchild starts a script that prints the id of a grandchild.
func startWithGrandchild(t *testing.T, ctx context.Context, script string) (p *Process, grandchild int) {
	t.Helper()
	r, w := io.Pipe()
	spec := sh(script)
	spec.Stdout = w
	p, err := Start(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return p, pid
}

// waitGone waits until a killed orphan was reaped by its new parent, or is a
// zombie for lack of one.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if syscall.Kill(pid, 0) != nil || zombie(pid) {
			return
		}
	}
	t.Errorf("process %d still runs", pid)
}

// zombie reports whether a process that was there has ended. Not every Linux has
// a ps.
func zombie(pid int) bool {
	if goruntime.GOOS == "linux" {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	}
	out, err := exec.Command("/bin/ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err != nil || strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

func TestStopKillsGroupThatIgnoresTERM(t *testing.T) {
	t.Parallel()
	p, grandchild := startWithGrandchild(t, t.Context(), `trap '' TERM; /bin/sleep 600 & echo $!; wait; /bin/sleep 600`)
	p.Stop()
	exit, ok := errors.AsType[*ExitError](p.Wait())
	if !ok || exit.Signal != syscall.SIGKILL {
		t.Errorf("got %v", p.Wait())
	}
	waitGone(t, grandchild)
	p.Stop() // again
}

func TestLeaderEndsGroupEnds(t *testing.T) {
	t.Parallel()
	p, grandchild := startWithGrandchild(t, t.Context(), `/bin/sleep 600 & echo $!`)
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	waitGone(t, grandchild)
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	late := errors.New("still running")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, late)
	defer cancel()
	_, err := Run(ctx, sh("/bin/sleep 600"))
	if !errors.Is(err, late) || !strings.Contains(err.Error(), "still running") {
		t.Fatalf("got %v", err)
	}
	if _, err = Run(ctx, sh("true")); !errors.Is(err, late) {
		t.Fatalf("started after the deadline: %v", err)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	for _, chunk := range []int{1, 2, 3, 7, 100} {
		tail := NewTail(4)
		for data := []byte("0123456789abcdef"); len(data) > 0; {
			k := min(chunk, len(data))
			if n, err := tail.Write(data[:k]); n != k || err != nil {
				t.Fatal(n, err)
			}
			data = data[k:]
		}
		if got, want := tail.String(), "0123\n… 8 bytes left out …\ncdef"; got != want {
			t.Errorf("chunk %d: got %q, want %q", chunk, got, want)
		}
	}
	tail := NewTail(4)
	if _, err := tail.Write([]byte("012345")); err != nil || tail.String() != "012345" {
		t.Errorf("got %q, %v", tail.String(), err)
	}
}
