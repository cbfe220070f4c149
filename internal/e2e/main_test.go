// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/metalpack/metalpack/internal/cli"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/embedpython"
	"github.com/metalpack/metalpack/internal/regtest"
	"github.com/metalpack/metalpack/internal/runcli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"metalpack": func() { program(cli.Main) },
		"metalrun":  func() { program(runcli.Main) },
	})
}

// program is what the main functions in cmd do.
func program(run func(context.Context, *edge.Env) int) {
	ctx, stop := edge.Signals()
	code := run(ctx, &edge.Env{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: mortal(os.Stderr), Getenv: os.Getenv})
	stop()
	os.Exit(code)
}

// faultyKey finds a script's registry in its environment.
type faultyKey struct{}

func TestScripts(t *testing.T) {
	t.Parallel()
	if signal.Ignored(syscall.SIGHUP) { // under nohup; programs do not inherit a signal that is handled
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	platform := goruntime.GOOS + "/" + goruntime.GOARCH
	pythonDir := interpreter(t, platform)
	cache := t.TempDir()
	engine, err := filepath.Abs("testdata/engine")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			faulty, host := regtest.NewFaulty(t)
			env.Values[faultyKey{}], env.Values[lastKey{}] = faulty, &lastCommand{}
			env.Values[hubKey{}] = &testHub{t: t}
			port, err := freePort()
			if err != nil {
				return err
			}
			for k, v := range map[string]string{
				"REGISTRY": host, "PORT": port, "PYTHON": pythonDir, "PLATFORM": platform,
				"HOME": env.WorkDir, "METALRUN_HOME": filepath.Join(env.WorkDir, "home"), "MODELS_PATH": filepath.Join(env.WorkDir, "models"),
				"DOCKER_CONFIG": filepath.Join(env.WorkDir, ".docker"), "XDG_CACHE_HOME": cache, "ENGINE": engine,
				"MODEL_RUNNER_HOST": "127.0.0.1:1",       // not the one of this machine
				"GORACE":            "atexit_sleep_ms=0", // each program would wait a second at its end
			} {
				env.Setenv(k, v)
			}
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "disk" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return mayMount(), nil
		},
		Cmds: withKill(withRun(withPack(map[string]command{
			"recipe": cmdRecipe, "model": cmdModel, "exits": cmdExits, "fault": cmdFault,
			"answers": cmdAnswers, "chat": cmdChat, "append": cmdAppend, "flip": cmdFlip, "terminal": cmdTerminal, "hub": cmdHub, "dmr": cmdDMR, "disk": cmdDisk,
		}))),
	})
}

// interpreter writes the host's CPython archive and returns its directory.
func interpreter(t *testing.T, platform string) string {
	t.Helper()
	out, err := embedpython.Find(platform)
	if err != nil {
		t.Skipf("no interpreter archive for %s: %v", platform, err)
	}
	module, err := embedpython.Module(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, out.File))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(embedpython.Write(t.Context(), module, platform, f), f.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// freePort picks a port that nobody listens on at the moment, and that no system
// gives to who asks for any.
func freePort() (port string, err error) {
	for range 100 {
		port = strconv.Itoa(15_000 + rand.N(15_000))
		var ln net.Listener
		if ln, err = net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, ln.Close()
		}
	}
	return "", err
}

// cmdExits runs a program and checks its exit code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

func cmdFault(ts *testscript.TestScript, _ bool, args []string) {
	faulty, ok := ts.Value(faultyKey{}).(*regtest.Faulty)
	if !ok {
		ts.Fatalf("no registry")
	}
	if len(args) > 0 && args[0] == "-storage" {
		faulty, args = hubOf(ts).Storage, args[1:]
	}
	var f regtest.Fault
	for k, v := range pairs(ts, args) {
		n, _ := strconv.ParseInt(v, 10, 64)
		switch k {
		case "method":
			f.Method = v
		case "path":
			f.Path = v
		case "times":
			f.Times = int(n)
		case "status":
			f.Status = int(n)
		case "cut":
			f.CutAfter = n
		case "truncate":
			f.Truncate = n
		case "corrupt":
			f.CorruptAt = n
		case "hang":
			f.Hang = true
		case "hold":
			f.Hold = true
		default:
			ts.Fatalf("fault: unknown key %q", k)
		}
	}
	faulty.Add(f)
}

// pairs reads KEY=VALUE words.
func pairs(ts *testscript.TestScript, args []string) map[string]string {
	out := map[string]string{}
	for _, a := range args {
		k, v, ok := strings.Cut(a, "=")
		if !ok {
			ts.Fatalf("%q: want KEY=VALUE", a)
		}
		out[k] = v
	}
	return out
}

func cmdAppend(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteString(args[1])
	ts.Check(errors.Join(err, f.Close()))
}

func cmdFlip(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	data, err := os.ReadFile(name)
	ts.Check(err)
	data[len(data)/2] ^= 1
	info, err := os.Stat(name)
	ts.Check(err)
	ts.Check(os.Chmod(name, 0o600))
	ts.Check(os.WriteFile(name, data, 0o600))
	ts.Check(os.Chmod(name, info.Mode()))
}
