// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
)

// run runs a command line and returns what it printed.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, msg bytes.Buffer
	code = Main(t.Context(), &edge.Env{Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &msg, Getenv: func(string) string { return "" }})
	return code, out.String(), msg.String()
}

// leaves lists the commands that do something, and their parents apart.
func leaves(cmd *cobra.Command) (verbs, parents []*cobra.Command) {
	for _, c := range cmd.Commands() {
		if !c.HasSubCommands() {
			verbs = append(verbs, c)
			continue
		}
		parents = append(parents, c)
		v, p := leaves(c)
		verbs, parents = append(verbs, v...), append(parents, p...)
	}
	return verbs, parents
}

func TestHelp(t *testing.T) {
	t.Parallel()
	a := &app{Console: ui.Console{Env: &edge.Env{Program: "metalpack"}}}
	verbs, parents := leaves(a.root())
	var names []string
	for _, c := range verbs {
		names = append(names, words(c))
		t.Run(words(c), func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := run(t, append(strings.Fields(words(c)), "--help")...)
			if code != edge.ExitOK || stderr != "" {
				t.Errorf("exit code %d, stderr %q", code, stderr)
			}
			for _, want := range []string{"Usage:\n  " + c.CommandPath(), "Examples:\n  metalpack " + words(c), "--json", edge.ExitStatus} {
				if !strings.Contains(stdout, want) {
					t.Errorf("help lacks %q:\n%s", want, stdout)
				}
			}
			if strings.HasSuffix(c.Short, ".") || c.Short == "" || c.Short[0] < 'a' {
				t.Errorf("short help %q: want lower case without a period", c.Short)
			}
		})
	}
	want := []string{
		"lock", "fetch", "build", "model build", "push", "pull", "inspect", "diff", "registry serve", "cache info", "cache prune",
		"recipes list", "recipes check", "recipes schema", "recipes matrix", "version",
	}
	for _, name := range want {
		if !slices.Contains(names, name) {
			t.Errorf("there is no verb %q among %q", name, names)
		}
	}
	for _, c := range parents {
		t.Run(words(c), func(t *testing.T) {
			t.Parallel()
			code, stdout, _ := run(t, strings.Fields(words(c))...)
			if code != edge.ExitOK || !strings.Contains(stdout, "Available Commands:") || !strings.Contains(stdout, edge.ExitStatus) {
				t.Errorf("exit code %d:\n%s", code, stdout)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args []string
		want string // of stderr
	}{
		"command":         {[]string{"buld"}, "unknown command \"buld\"\nhint: did you mean 'metalpack build'?"},
		"command below":   {[]string{"model", "bild"}, "unknown command \"model bild\"\nhint: did you mean 'metalpack model build'?"},
		"shell":           {[]string{"completion", "fisch"}, "unknown command \"completion fisch\"\nhint: did you mean 'metalpack completion fish'?"},
		"shell's":         {[]string{"completion", "fish", "x"}, "completion fish: unexpected argument \"x\""},
		"nothing like it": {[]string{"zzzzzzzz"}, "unknown command \"zzzzzzzz\"\nhint: see 'metalpack --help'"},
		"flag":            {[]string{"push", "--nope"}, "unknown flag: --nope\nhint: see 'metalpack push --help'"},
		"help":            {[]string{"help", "zzz"}, "unknown command \"zzz\"\nhint: see 'metalpack --help'"},
		"help below":      {[]string{"help", "cache", "inof"}, "unknown command \"cache inof\"\nhint: did you mean 'metalpack cache info'?"},
		"like a flag":     {[]string{"push", "--plain-htp"}, "unknown flag: --plain-htp\nhint: did you mean --plain-http? 'metalpack push --help' lists all"},
		"short flag":      {[]string{"push", "-x"}, "unknown shorthand flag: 'x' in -x\nhint: see 'metalpack push --help'"},
		"missing":         {[]string{"push", "oci:x"}, "push: missing REFERENCE\nhint: see 'metalpack push --help'"},
		"more":            {[]string{"version", "x"}, "version: unexpected argument \"x\"\nhint: see 'metalpack version --help'"},
		"progress":        {[]string{"version", "--progress", "x"}, "--progress \"x\": want auto, tty, plain, quiet, json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := run(t, tt.args...)
			if code != edge.ExitUsage || stdout != "" || !strings.HasPrefix(stderr, "metalpack: error: "+tt.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			code, stdout, _ = run(t, append([]string{"--json"}, tt.args...)...)
			var answer struct {
				Error    string   `json:"error"`
				Hints    []string `json:"hints"`
				ExitCode int      `json:"exitCode"`
			}
			if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != edge.ExitUsage || answer.ExitCode != code || answer.Error == "" {
				t.Errorf("exit code %d, stdout %q: %v", code, stdout, err)
			}
		})
	}
}

// TestJSON: under --json stdout is one document, whatever is wrong.
func TestJSON(t *testing.T) {
	t.Parallel()
	a := &app{Console: ui.Console{Env: &edge.Env{Program: "metalpack"}}}
	verbs, _ := leaves(a.root())
	for _, c := range verbs {
		t.Run(words(c), func(t *testing.T) {
			t.Parallel()
			code, stdout, _ := run(t, append(strings.Fields(words(c)), "--json", "--no-such-flag")...)
			var f edge.Failure
			if err := json.Unmarshal([]byte(stdout), &f); err != nil {
				t.Fatalf("stdout %q: %v", stdout, err)
			}
			if code != edge.ExitUsage || f.ExitCode != code || f.Error == "" || len(f.Hints) != 1 || strings.Count(stdout, "\n") != 1 {
				t.Errorf("exit code %d, %+v", code, f)
			}
		})
	}
}

// TestVersion: however one asks for the version, and for help.
func TestVersion(t *testing.T) {
	t.Parallel()
	for _, same := range [][][]string{
		{{"version"}, {"--version"}},
		{{"version", "--json"}, {"--version", "--json"}},
		{{"model", "build", "--help"}, {"help", "model", "build"}},
		{{"model"}, {"help", "model"}},
		{{}, {"help"}, {"--help"}},
	} {
		_, want, _ := run(t, same[0]...)
		for _, args := range same[1:] {
			if code, got, msg := run(t, args...); code != edge.ExitOK || got != want || msg != "" || got == "" {
				t.Errorf("%q: exit code %d, %q, %q", args, code, got, msg)
			}
		}
	}
}

// TestInterruptedRead: nobody types the paths that are asked for.
func TestInterruptedRead(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	in, never := io.Pipe()
	defer never.Close()
	var out, msg bytes.Buffer
	env := &edge.Env{Args: []string{"recipes", "matrix", "--changed", "-"}, Stdin: readerFunc(func(p []byte) (int, error) {
		cancel()
		return in.Read(p)
	}), Stdout: &out, Stderr: &msg, Getenv: func(string) string { return "" }}
	if code := Main(ctx, env); code != edge.ExitInterrupted || out.String() != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out.String(), msg.String())
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, msg bytes.Buffer
	env := &edge.Env{Args: []string{"inspect", "127.0.0.1:1/team/x:1"}, Stdout: &out, Stderr: &msg, Getenv: func(string) string { return "" }}
	if code := Main(ctx, env); code != edge.ExitInterrupted || msg.String() != "metalpack: error: interrupted\n" {
		t.Errorf("exit code %d, stderr %q", code, msg.String())
	}
}
