// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package child

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// killVariable makes TestKilledParent the program that is killed.
const killVariable = "METALPACK_TEST_KILLED_PARENT"

func TestKilledParent(t *testing.T) {
	if os.Getenv(killVariable) == "" {
		t.Skip("started by the test that kills it")
	}
	spec := sh(`trap '' TERM HUP; /bin/sleep 600 & echo $!; /bin/sleep 600 & wait`)
	spec.Stdout = os.Stdout
	p, err := Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stdout.WriteString("leader " + strconv.Itoa(p.cmd.Process.Pid) + "\n"); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait() // it is killed here
}

// kill -9 of this program leaves neither the leader nor what it started.
func TestGroupDiesWithProgram(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledParent$")
	cmd.Env = append(os.Environ(), killVariable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var pids []int
	for len(pids) < 2 && lines.Scan() {
		if pid, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "leader ")); err == nil {
			pids = append(pids, pid)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if len(pids) != 2 {
		t.Fatalf("got %v", pids)
	}
	for _, pid := range pids {
		waitGone(t, pid)
	}
}
