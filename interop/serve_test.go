// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server of ours may take to end after SIGTERM.
const patience = 30 * time.Second

// serve starts one of our servers, which print their address once they
// answer, and ends it with the test. It returns host:port.
func (s *stage) serve(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = s.environ
	log := &tail{}
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (make build makes the programs)", err)
	}
	t.Cleanup(func() { stop(t, cmd, log) })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	host, ok := strings.CutPrefix(strings.TrimSpace(line), "http://")
	if err != nil || !ok {
		t.Fatalf("%s: no address but %q: %v", strings.Join(cmd.Args, " "), line, err)
	}
	return host
}

// stop asks a server to end; it must do so by itself, with code 130.
func stop(t *testing.T, cmd *exec.Cmd, log *tail) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !kill.Stop() {
		t.Errorf("%s did not end within %s of SIGTERM", strings.Join(cmd.Args, " "), patience)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != 130) {
		t.Errorf("%s: %v", strings.Join(cmd.Args, " "), err)
	}
	if t.Failed() {
		t.Logf("%s: %s", strings.Join(cmd.Args, " "), log.data)
	}
}

// tail keeps the last bytes of a log. It is read after the writer has ended.
type tail struct{ data []byte }

// maxTail is how much of a server's log a failed test shows, in bytes.
const maxTail = 16 << 10

func (w *tail) Write(p []byte) (int, error) {
	w.data = append(w.data, p...)
	if over := len(w.data) - maxTail; over > 0 {
		w.data = append([]byte(nil), w.data[over:]...)
	}
	return len(p), nil
}
