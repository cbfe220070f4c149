// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package child

import (
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// guardScript reads the id of a group and then waits for a word. If none comes
// this program has died, and the group dies too. It uses builtins alone.
const guardScript = `read -r group || exit 0
read -r word || kill -s KILL -- "-$group"`

// guard is a process that outlives this one just long enough to end a group:
// the leader's parent death signal, where there is one, does not reach the
// workers that the leader started.
type guard struct {
	cmd   *exec.Cmd
	input io.WriteCloser
}

// newGuard starts a guard, before there is something to guard.
func newGuard() (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript) //nolint:noctx // it ends by what it reads
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a guard: %w", err)
	}
	return &guard{cmd: cmd, input: input}, nil
}

// watch tells which group to guard.
func (g *guard) watch(group int) { g.say(fmt.Sprintf("%d\n", group)) }

// dismiss ends the guard. To be called while the group's id is still taken.
func (g *guard) dismiss() {
	g.say("done\n")
	_ = g.input.Close() // a pipe
	_ = g.cmd.Wait()    // whatever became of it, it is gone
}

// say writes a line. Somebody who kills the guard gives up what it is for.
func (g *guard) say(line string) { _, _ = io.WriteString(g.input, line) }
