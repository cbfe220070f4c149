// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/verify"
)

// result is what a run of the program left.
type result struct {
	code           int
	stdout, stderr string
}

// command runs the command line with a home of its own.
func command(t *testing.T, args ...string) result {
	t.Helper()
	var out, msg bytes.Buffer
	home := t.TempDir()
	getenv := func(name string) string {
		return map[string]string{"HOME": home, "MODEL_RUNNER_HOST": "127.0.0.1:1"}[name]
	}
	code := Main(t.Context(), &edge.Env{Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &msg, Getenv: getenv})
	return result{code, out.String(), msg.String()}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	program := command(t, "--help")
	for _, v := range (&app{}).verbs() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(program.stdout, "\n  "+v.name+" ") {
				t.Errorf("the program's help does not list %s", v.name)
			}
			r := command(t, v.name, "--help")
			if r.code != 0 || r.stderr != "" {
				t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
			}
			for _, want := range []string{v.short, "Usage:\n  metalrun " + v.name, "Example:\n  metalrun " + v.name, "\n  --json\n", "EXIT STATUS\n"} {
				if !strings.Contains(r.stdout, want) {
					t.Errorf("no %q in %s", want, r.stdout)
				}
			}
			for _, same := range [][]string{{"help", v.name}, {v.name, "-h"}} {
				if other := command(t, same...); other != r {
					t.Errorf("%q says %q", same, other.stdout)
				}
			}
			if r := command(t, v.name, "--no-such-flag"); r.code != edge.ExitUsage || !strings.Contains(r.stderr, "hint: see 'metalrun "+v.name+" --help'") {
				t.Errorf("an unknown flag: exit code %d, stderr %q", r.code, r.stderr)
			}
		})
	}
}

func TestProgramHelp(t *testing.T) {
	t.Parallel()
	want := command(t)
	for _, args := range [][]string{{"help"}, {"-h"}, {"--help"}} {
		if got := command(t, args...); got != want {
			t.Errorf("%q: %+v", args, got)
		}
	}
	if want.code != 0 || !strings.Contains(want.stdout, "\nExample:\n") || !strings.Contains(want.stdout, "EXIT STATUS\n") {
		t.Errorf("got %+v", want)
	}
}

// TestJSON: under --json stdout is one JSON document, whatever happens.
func TestJSON(t *testing.T) {
	t.Parallel()
	for _, v := range (&app{}).verbs() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			wrong := []string{v.name, "--json", "one", "two", "three"}
			if strings.Contains(v.args, "…") { // it takes any number
				wrong = []string{v.name, "--json", "--no-such-flag"}
			}
			r := command(t, wrong...)
			var e edge.Failure
			if err := json.Unmarshal([]byte(r.stdout), &e); err != nil {
				t.Fatalf("stdout %q: %v", r.stdout, err)
			}
			if r.code != edge.ExitUsage || e.ExitCode != r.code || e.Error == "" || len(e.Hints) != 1 {
				t.Errorf("exit code %d, %+v", r.code, e)
			}
		})
	}
}

// TestHints: what the system refuses comes with what the user can do.
func TestHints(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		code int
		want string
	}{
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EACCES}, edge.ExitError, "look at what is there, and who may read and write it; METALRUN_HOME names another directory"},
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EROFS}, edge.ExitError, "look at what is there, and who may read and write it; METALRUN_HOME names another directory"},
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.ENOTDIR}, edge.ExitError, "look at what is there, and who may read and write it; METALRUN_HOME names another directory"},
		{&fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, edge.ExitError, "make room: 'metalrun df' tells"},
		{fmt.Errorf("x: %w", verify.ErrDamaged), edge.ExitVerification, "metalrun verify --repair"},
	} {
		code, hints := (&edge.Env{Program: "metalrun", Rows: rows()}).Classify(tt.err)
		if code != tt.code || len(hints) != 1 || !strings.Contains(hints[0], tt.want) {
			t.Errorf("%v: exit code %d, hints %q", tt.err, code, hints)
		}
	}
}

// TestUnknown: a slip in a command or flag is told with what was perhaps meant.
func TestUnknown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		want string // of stderr
	}{
		{[]string{"lits"}, "unknown command \"lits\"\nhint: did you mean 'metalrun list'? 'metalrun --help' lists all\n"},
		{[]string{"nonsense"}, "unknown command \"nonsense\"\nhint: see 'metalrun --help'\n"},
		{[]string{"help", "nonsense"}, "unknown command \"nonsense\"\nhint: see 'metalrun --help'\n"},
		{[]string{"help", "instal"}, "unknown command \"instal\"\nhint: did you mean 'metalrun install'? 'metalrun --help' lists all\n"},
		{[]string{"rm", "--unusd"}, "unknown flag: --unusd\nhint: did you mean --unused? 'metalrun rm --help' lists all\n"},
		{[]string{"rm", "x", "-zzzzz"}, "unknown flag: --zzzzz\nhint: see 'metalrun rm --help'\n"},
		{[]string{"pull", "--exclude"}, "pull: flag needs an argument: --exclude\nhint: see 'metalrun pull --help'\n"},
		{[]string{"run", "x", "--max-tokens", "a\" for flag -b"}, "run: invalid value \"a\\\" for flag -b\" for flag --max-tokens: parse error\nhint: see 'metalrun run --help'\n"},
		{[]string{"list", "--json=-x"}, "list: invalid boolean value \"-x\" for --json: parse error\nhint: see 'metalrun list --help'\n"},
		{[]string{"run", "x", "--max-tokens", "-1"}, "run: --max-tokens -1: want 0 or more\nhint: see 'metalrun run --help'\n"},
		{[]string{"run", "x", "--endpoint", "ftp://x"}, "run: endpoint \"ftp://x\": want an address like http://127.0.0.1:12436\nhint: see 'metalrun run --help'\n"},
		{[]string{"run", "x", "--endpoint", "127.0.0.1:1", "--env", "e"}, "run: --env and --engine choose what is started here: the server at --endpoint runs already\nhint: see 'metalrun run --help'\n"},
		{[]string{"install", "./out"}, "reference \"./out\": \".\" is not a registry host\nhint: an OCI layout is written oci:./out:TAG, an archive oci-archive:./out\n"},
		{[]string{"--plain-http", "list"}, "flag --plain-http: flags follow the command\nhint: like 'metalrun list --json'; see 'metalrun --help'\n"},
	} {
		if got := command(t, tt.args...); got.code != edge.ExitUsage || got.stdout != "" || got.stderr != "metalrun: error: "+tt.want {
			t.Errorf("%q: %+v", tt.args, got)
		}
	}
	for _, flags := range [][]string{nil, {"--json"}} {
		if got, want := command(t, append([]string{"--version"}, flags...)...), command(t, append([]string{"version"}, flags...)...); got != want || got.code != 0 {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// TestEnvironmentName: what can be no environment's name is refused before
// anything is looked for.
func TestEnvironmentName(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"run", "x", "y"}, {"serve"}, {"versions"}, {"verify"}, {"uninstall"}} {
		for _, name := range []string{"../x", "", ".", "a/b", "Upper"} {
			want := fmt.Sprintf("metalrun: error: %s: invalid value %q for flag --env: name %[2]q: want lower-case letters, digits and dashes, at most 63\nhint: see 'metalrun %[1]s --help'\n", args[0], name)
			if got := command(t, append(args, "--env", name)...); got != (result{edge.ExitUsage, "", want}) {
				t.Errorf("%q %q: %+v", args, name, got)
			}
		}
		if got := command(t, append(args, "--env", "other")...); got.code != edge.ExitNotFound {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// TestDefaultError: who named no environment hears that one can be named.
func TestDefaultError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want string // "" = no hint
	}{
		{bundle.ErrUnreachable, "when no REFERENCE is given; check the network and HTTPS_PROXY, or name another: docker://"},
		{bundle.ErrUnauthorized, "when no REFERENCE is given; name another: docker://"},
		{bundle.ErrNotFound, "when no REFERENCE is given; name another: docker://"},
		{bundle.ErrMismatch, ""},
	} {
		err := defaultError(fmt.Errorf("x: %w", tt.err))
		_, hints := (&edge.Env{}).Classify(err)
		if !errors.Is(err, tt.err) || edge.Hinted(err) != (tt.want != "") || !strings.Contains(strings.Join(hints, ""), tt.want) {
			t.Errorf("%v: hints %q", err, hints)
		}
	}
}

// TestListen: an address that will not do is named as the user gave it.
func TestListen(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"http://127.0.0.1:1": "serve: METALRUN_HOST \"http://127.0.0.1:1\": want host:port",
		"127.0.0.1":          "serve: METALRUN_HOST \"127.0.0.1\": want host:port",
		"0.0.0.0:1":          "serve: METALRUN_HOST \"0.0.0.0:1\" is not loopback: everyone who reaches it could use the engine",
		":1":                 "serve: METALRUN_HOST \":1\" is not loopback: everyone who reaches it could use the engine",
		"127.0.0.1:x":        "serve: METALRUN_HOST \"127.0.0.1:x\": the port must be a number from 0, which picks a free one, to 65535",
	} {
		if _, err := listen(t.Context(), hostVariable, addr); !errors.Is(err, edge.ErrUsage) || err.Error() != want {
			t.Errorf("%s: %v", addr, err)
		}
	}
}
