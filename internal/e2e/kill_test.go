// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// diesEnv names the text at which a program under test is killed.
const diesEnv = "METALPACK_TEST_DIES"

// withKill adds the commands of scripts that kill:
//
//	dies TEXT PROGRAM ARG…    kill -9 the program when it is about to write a line with TEXT on stderr
//	tidy DIR…                 nothing below the directories has a name of what is not finished
func withKill(cmds map[string]command) map[string]command {
	maps.Copy(cmds, map[string]command{"dies": cmdDies, "tidy": cmdTidy})
	return cmds
}

func cmdDies(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: dies TEXT PROGRAM ARG…")
	}
	ts.Setenv(diesEnv, args[0])
	err := ts.Exec(args[1], args[2:]...)
	ts.Setenv(diesEnv, "")
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != -1 {
		ts.Fatalf("%s: not killed at %q: %v", strings.Join(args[1:], " "), args[0], err)
	}
}

// mortal is w in a program that dies when it says a certain thing: progress is
// told on the way, so that whatever is half done then stays so.
func mortal(w io.Writer) io.Writer {
	text := os.Getenv(diesEnv)
	if text == "" {
		return w
	}
	return writerFunc(func(p []byte) (int, error) {
		if !bytes.Contains(p, []byte(text)) {
			return w.Write(p)
		}
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		if err != nil {
			return 0, err
		}
		select {} // until it is heard
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func cmdTidy(ts *testscript.TestScript, neg bool, args []string) {
	var left []string
	for _, dir := range args {
		ts.Check(filepath.WalkDir(ts.MkAbs(dir), func(path string, e fs.DirEntry, err error) error {
			for _, mark := range []string{".fsatomic-", ".partial-", ".staging-", ".index.json", ".tmp"} {
				if err == nil && strings.Contains(e.Name(), mark) {
					left = append(left, path)
				}
			}
			if err == nil && !e.IsDir() && filepath.Base(filepath.Dir(path)) == "partial" {
				left = append(left, path)
			}
			return err
		}))
	}
	if (len(left) > 0) != neg {
		ts.Fatalf("unfinished: %q", left)
	}
}
