// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/regtest"
)

// withRun adds the commands that scripts of metalrun have:
//
//	layer VAR REF NAME       digest of a layer of this host's manifest, by its name or title
//	version VAR              directory of the active version in $METALRUN_HOME
//	heal                     the registry has no faults any more
//	requested PATH [COUNT]   wait until the registry was asked for PATH so often
//	signal INT|TERM|HUP|KILL signal the last background command and remember it
//	code N                   the exit code of the command that was signalled, after wait
//	gone                     wait until no process of this script is left
//	running WORD             wait until a process of this script has WORD in its command line
//	says FILE REGEXP         wait until the file has such text
//	hold VAR                 listen on a port until the script ends
//	get [-host HOST] URL     GET; status and body are stdout
//	modelid VAR              digits of the id of the model that stdout tells of in JSON
//	empty DIR…               nothing is in these directories
//	only VAR DIR             name of the only thing in a directory
func withRun(cmds map[string]command) map[string]command {
	maps.Copy(cmds, map[string]command{
		"layer": cmdLayer, "version": cmdVersion, "heal": cmdHeal, "requested": cmdRequested, "signal": cmdSignal,
		"code": cmdCode, "gone": cmdGone, "running": cmdRunning, "says": cmdSays, "hold": cmdHold, "get": cmdGet,
		"modelid": cmdModelID, "empty": cmdEmpty, "only": cmdOnly,
	})
	return cmds
}

// lastKey finds the background command that was signalled last.
type lastKey struct{}

type lastCommand struct{ cmd *exec.Cmd }

// poll asks until it is answered with true, or fails the script.
func poll(ts *testscript.TestScript, what string, ask func() bool) {
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-deadline:
			ts.Fatalf("%s: not after %s", what, patience)
		case <-tick.C:
		}
	}
}

func cmdLayer(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ref, err := bundle.ParseSource(args[1], "")
	ts.Check(err)
	repo, err := remote.Open(ref, remote.Options{})
	ts.Check(err)
	desc, err := repo.Resolve(ctx, ref.Name())
	ts.Check(err)
	data, err := repo.Manifest(ctx, desc)
	ts.Check(err)
	if desc.MediaType == bundle.MediaTypeIndex {
		x, err := bundle.ParseIndex(data)
		ts.Check(err)
		desc, err = bundle.SelectManifest(x, bundle.Platform{OS: goruntime.GOOS, Arch: goruntime.GOARCH})
		ts.Check(err)
		data, err = repo.Manifest(ctx, desc)
		ts.Check(err)
	}
	manifest, err := bundle.ParseManifest(data)
	ts.Check(err)
	var names []string
	for _, l := range manifest.Layers {
		for _, key := range []string{bundle.AnnotationLayer, bundle.AnnotationTitle, bundle.AnnotationFilepath} {
			if l.Annotations[key] == args[2] {
				ts.Setenv(args[0], l.Digest.Encoded())
				return
			}
			names = append(names, l.Annotations[key])
		}
	}
	ts.Fatalf("%s has no layer %s, only %q", args[1], args[2], names)
}

func cmdVersion(ts *testscript.TestScript, _ bool, args []string) {
	python := filepath.Join(ts.Getenv("METALRUN_HOME"), "vllm-metal", "bin", "python3")
	target, err := filepath.EvalSymlinks(python)
	ts.Check(err)
	ts.Setenv(args[0], filepath.Dir(filepath.Dir(target)))
}

func cmdHeal(ts *testscript.TestScript, _ bool, _ []string) {
	faulty, ok := ts.Value(faultyKey{}).(*regtest.Faulty)
	if !ok {
		ts.Fatalf("no registry")
	}
	faulty.Heal()
}

func cmdRequested(ts *testscript.TestScript, _ bool, args []string) {
	faulty, ok := ts.Value(faultyKey{}).(*regtest.Faulty)
	if !ok {
		ts.Fatalf("no registry")
	}
	count := 1
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		count = n
	}
	poll(ts, "requested "+args[0], func() bool { return len(faulty.Requests(http.MethodGet, args[0])) >= count })
}

func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	cmds := ts.BackgroundCmds()
	last, ok := ts.Value(lastKey{}).(*lastCommand)
	sig, known := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}[args[0]]
	if !ok || !known || len(cmds) == 0 {
		ts.Fatalf("usage: signal INT|TERM|HUP|KILL, with a command in the background")
	}
	last.cmd = cmds[len(cmds)-1]
	ts.Check(last.cmd.Process.Signal(sig))
}

// cmdCode looks at the exit code of what cmdSignal signalled: testscript's wait
// tells good from bad only.
func cmdCode(ts *testscript.TestScript, _ bool, args []string) {
	last, ok := ts.Value(lastKey{}).(*lastCommand)
	if !ok || last.cmd == nil || slices.Contains(ts.BackgroundCmds(), last.cmd) {
		ts.Fatalf("code: wait for the command that was signalled first")
	}
	if got := strconv.Itoa(last.cmd.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// processes lists the command lines of processes that were started in the
// script's directory: those with it in their command line and, on Linux, in
// their environment.
func processes(ts *testscript.TestScript) []string {
	work := ts.Getenv("WORK")
	if goruntime.GOOS != "linux" {
		out, err := exec.Command("/bin/ps", "-axww", "-o", "args=").Output()
		ts.Check(err)
		return slices.DeleteFunc(strings.Split(string(out), "\n"), func(s string) bool { return !strings.Contains(s, work) })
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	ts.Check(err)
	var found []string
	for _, dir := range dirs {
		// A process may end, or belong to somebody else, while we look.
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if len(line) > 0 && (strings.Contains(string(line), work) || strings.Contains(string(environ), work)) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func cmdGone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: gone")
	}
	var left []string
	poll(ts, "gone", func() bool {
		was := left
		if left = processes(ts); !slices.Equal(was, left) {
			ts.Logf("processes: %q", left)
		}
		return len(left) == 0
	})
}

func cmdRunning(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, "running "+args[0], func() bool {
		return slices.ContainsFunc(processes(ts), func(s string) bool { return strings.Contains(s, args[0]) })
	})
}

func cmdHold(ts *testscript.TestScript, _ bool, args []string) {
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = ln.Close() }) // nothing is written to it
	_, port, err := net.SplitHostPort(ln.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], port)
}

func cmdSays(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: says FILE REGEXP")
	}
	want := regexp.MustCompile(args[1])
	poll(ts, strings.Join(args, " says "), func() bool {
		data, _ := os.ReadFile(ts.MkAbs(args[0])) // it may be on its way
		return want.Match(data)
	})
}

func cmdGet(ts *testscript.TestScript, _ bool, args []string) {
	host := ""
	if len(args) == 3 && args[0] == "-host" {
		host, args = args[1], args[2:]
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], http.NoBody)
	ts.Check(err)
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	body, err := io.ReadAll(res.Body)
	ts.Check(err)
	ts.Check(res.Body.Close())
	_, err = fmt.Fprintf(ts.Stdout(), "%s\n%s\n", res.Status, body)
	ts.Check(err)
}

func cmdModelID(ts *testscript.TestScript, _ bool, args []string) {
	var m struct {
		ID digest.Digest `json:"id"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &m))
	ts.Setenv(args[0], m.ID.Encoded())
}

func cmdEmpty(ts *testscript.TestScript, _ bool, args []string) {
	for _, dir := range args {
		entries, err := os.ReadDir(ts.MkAbs(dir))
		ts.Check(err)
		if len(entries) > 0 {
			ts.Fatalf("%s holds %v", dir, entries)
		}
	}
}

func cmdOnly(ts *testscript.TestScript, _ bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[1]))
	ts.Check(err)
	if len(entries) != 1 {
		ts.Fatalf("%s holds %v", args[1], entries)
	}
	ts.Setenv(args[0], entries[0].Name())
}
