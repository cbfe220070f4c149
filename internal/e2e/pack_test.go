// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/internal/embedpython"
	"github.com/metalpack/metalpack/internal/regtest"
)

type command = func(*testscript.TestScript, bool, []string)

// withPack adds the commands that scripts of metalpack have:
//
//	archive DIR OS/ARCH [sha256=WORD]    put a small interpreter for a machine beside a recipe, and its sha256 into it
//	hostile DIR KIND                     replace the stand-in wheel of a recipe by a hostile one (hostile_test.go), in the lock too
//	weights DIR KIND                     put hostile weights into a model (hostile_model_test.go)
//	manifest GOOD DIR KIND               write the layout DIR, tag 1, as GOOD is but for a hostile manifest
//	swap GOOD DIR FILE                   write the layout DIR, as GOOD is but for FILE as its weights
//	refuses PATTERN PROGRAM ARG…         run a program on an attack: it ends in time and memory, with an error that matches
//	edit FILE OLD NEW                    replace a text that is there; \n in NEW is a line end
//	path DIR…                            PATH becomes the programs under test and these directories
//	asked METHOD PART                    wait until the registry saw such a request; ! = it never did
//	appears GLOB                         wait until a file of that name is there
//	grows GLOB BYTES                     wait until a file of that name has so many bytes
//	interrupt                            send SIGINT to the one command in the background
//	interrupted                          after wait: that command had exit code 130
//	json KEY REGEXP                      stdout is one JSON document, and KEY (a.b.0.c) in it matches
//	same FILE FILE…                      the files hold the same digest (the last @sha256:…)
func withPack(cmds map[string]command) map[string]command {
	victim := &victims{all: map[string]*exec.Cmd{}}
	maps.Copy(cmds, map[string]command{
		"archive": cmdArchive, "hostile": cmdHostile, "edit": cmdEdit, "path": cmdPath, "asked": cmdAsked, "appears": cmdAppears, "grows": cmdGrows,
		"weights": cmdWeights, "manifest": cmdManifest, "refuses": cmdRefuses, "swap": cmdSwap,
		"interrupt": victim.interrupt, "interrupted": victim.interrupted, "json": cmdJSON, "same": cmdSame,
	})
	return cmds
}

// cmdArchive spares scripts that need no running Python the real interpreter.
func cmdArchive(ts *testscript.TestScript, _ bool, args []string) {
	goos, goarch, _ := strings.Cut(args[1], "/")
	python, err := embedpython.Find(ts.Getenv("PLATFORM"))
	ts.Check(err)
	data := wheeltest.Interpreter(goos, goarch, nil)
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), "wheels", python.File), data, 0o644))
	if o := pairs(ts, args[2:]); o["sha256"] != "keep" {
		cmdEdit(ts, false, []string{filepath.Join(args[0], "recipe.yaml"), python.SHA256, fmt.Sprintf("%x", sha256.Sum256(data))})
	}
}

func cmdEdit(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: edit FILE OLD NEW")
	}
	old := ts.ReadFile(args[0])
	if !strings.Contains(old, args[1]) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(old, args[1], strings.ReplaceAll(args[2], `\n`, "\n"))), 0o644))
}

func cmdPath(ts *testscript.TestScript, _ bool, args []string) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, "metalpack")); err == nil {
			dirs := []string{dir}
			for _, a := range args {
				dirs = append(dirs, ts.MkAbs(a))
			}
			ts.Setenv("PATH", strings.Join(dirs, string(filepath.ListSeparator)))
			return
		}
	}
	ts.Fatalf("metalpack is not on PATH")
}

// eventually waits until something is so.
func eventually(ts *testscript.TestScript, what string, is func() bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			ts.Fatalf("%s: not within %s", what, patience)
		case <-tick.C:
		}
	}
}

func cmdAsked(ts *testscript.TestScript, neg bool, args []string) {
	faulty, ok := ts.Value(faultyKey{}).(*regtest.Faulty)
	if !ok || len(args) != 2 {
		ts.Fatalf("usage: asked METHOD PART, with a registry")
	}
	saw := func() bool { return len(faulty.Requests(args[0], args[1])) > 0 }
	if !neg {
		eventually(ts, "a request "+args[0]+" "+args[1], saw)
	} else if saw() {
		ts.Fatalf("the registry was asked %s %s", args[0], args[1])
	}
}

func cmdAppears(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, args[0], func() bool {
		found, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		return len(found) > 0
	})
}

func cmdGrows(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	eventually(ts, args[0], func() bool {
		found, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		return slices.ContainsFunc(found, func(name string) bool {
			info, err := os.Stat(name)
			return err == nil && info.Size() >= want
		})
	})
}

// victims are the commands that were interrupted, by the script's directory.
type victims struct {
	mu  sync.Mutex
	all map[string]*exec.Cmd
}

func (v *victims) interrupt(ts *testscript.TestScript, _ bool, _ []string) {
	running := ts.BackgroundCmds()
	if len(running) != 1 {
		ts.Fatalf("interrupt: %d commands in the background, want 1", len(running))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all[ts.Getenv("WORK")] = running[0]
	ts.Check(running[0].Process.Signal(os.Interrupt))
}

func (v *victims) interrupted(ts *testscript.TestScript, _ bool, _ []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	cmd, ok := v.all[ts.Getenv("WORK")]
	if !ok {
		ts.Fatalf("interrupted: nothing was")
	}
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		ts.Fatalf("exit code %d after SIGINT, want 130", code)
	}
}

func cmdJSON(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json KEY REGEXP")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for key := range strings.SplitSeq(args[0], ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[key]
		case []any:
			var i int
			if _, err := fmt.Sscanf(key, "%d", &i); err != nil || i >= len(at) {
				ts.Fatalf("json: no element %s of %d", key, len(at))
			}
			v = at[i]
		default:
			ts.Fatalf("json: no %s: %v", args[0], at)
		}
	}
	if text := fmt.Sprint(v); !regexp.MustCompile(args[1]).MatchString(text) {
		ts.Fatalf("json: %s is %q, want %s", args[0], text, args[1])
	}
}

var digestPattern = regexp.MustCompile(`@(sha256:[0-9a-f]{64})`)

func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	seen := map[string]bool{}
	for _, name := range args {
		m := digestPattern.FindAllStringSubmatch(ts.ReadFile(name), -1)
		if len(m) == 0 {
			ts.Fatalf("%s holds no digest", name)
		}
		seen[m[len(m)-1][1]] = true
	}
	if (len(seen) == 1) == neg {
		ts.Fatalf("%d digests in %s", len(seen), strings.Join(args, ", "))
	}
}
