// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package runcli is metalrun's command line: one file per verb. It stands on
// the standard flag package, to stay small, and prints like internal/cli:
// results on stdout, progress and errors on stderr, JSON on request.
package runcli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
)

// app is one run of the program.
type app struct {
	ui.Console

	registry edge.Registry
}

// verb is one command.
type verb struct {
	name    string
	args    string // what follows the flags, for the usage line
	short   string
	long    string
	example string
	remote  bool // it speaks to registries, and has the flags for that
	flags   func(*flag.FlagSet)
	run     func(ctx context.Context, args []string) error
}

// verbs lists the commands in the order of the help.
func (a *app) verbs() []verb {
	return []verb{
		a.runVerb(), a.serveVerb(),
		a.pullVerb(), a.listVerb(), a.inspectVerb(), a.rmVerb(), a.dfVerb(),
		a.installVerb(), a.versionsVerb(), a.verifyVerb(), a.statusVerb(), a.uninstallVerb(),
		a.versionVerb(),
	}
}

// Main runs the command line in env and returns the exit code.
func Main(ctx context.Context, env *edge.Env) int {
	env.Program, env.Rows = "metalrun", rows()
	a := &app{Console: ui.Console{Env: env}}
	return a.End(ctx, a.dispatch(ctx, env.Args))
}

func (a *app) dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "help" && len(args) == 1 || isHelp(args[0]) {
		return a.Print(a.help())
	}
	switch {
	case args[0] == "help":
		args = []string{args[1], "--help"}
	case args[0] == "--version", args[0] == "-version":
		args = append([]string{"version"}, args[1:]...)
	case strings.HasPrefix(args[0], "-"):
		return edge.WithHint(edge.Usagef("flag %s: flags follow the command", args[0]), "like 'metalrun list --json'; see 'metalrun --help'")
	}
	var known []string
	for _, v := range a.verbs() {
		if v.name == args[0] {
			return a.runOne(ctx, v, args[1:])
		}
		known = append(known, v.name)
	}
	return edge.UnknownCommand("metalrun", args[0], known)
}

func isHelp(s string) bool { return s == "-h" || s == "-help" || s == "--help" }

// runOne parses flags, which may stand between the arguments, and runs v.
func (a *app) runOne(ctx context.Context, v verb, args []string) error {
	fs := flag.NewFlagSet(v.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	a.Flags(fs)
	if v.remote {
		a.registry.Flags(fs)
	}
	if v.flags != nil {
		v.flags(fs)
	}
	var words []string
	for {
		err := fs.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return a.Print(v.help(fs))
		}
		if err != nil {
			return v.usage(v.flagError(fs, err))
		}
		rest := fs.Args()
		if len(rest) == 0 {
			break
		}
		if len(args) > len(rest) && args[len(args)-len(rest)-1] == "--" {
			words = append(words, rest...)
			break
		}
		words, args = append(words, rest[0]), rest[1:]
	}
	if err := a.Open(); err != nil {
		return v.usage(err)
	}
	return v.usage(v.run(ctx, words))
}

// oneDash is where errors of package flag name a flag, with one dash where the
// help has two.
var oneDash = regexp.MustCompile(`^(flag needs an argument: |invalid (?:boolean )?value .*" for (?:flag )?)-`)

// flagError is the usage error of flags that do not parse.
func (v verb) flagError(fs *flag.FlagSet, err error) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return edge.Usagef("%s: %s", v.name, oneDash.ReplaceAllString(err.Error(), "$1--"))
	}
	var known []string
	fs.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	return edge.UnknownFlag("metalrun "+v.name, name, known)
}

// usage has an error in how v was called name v's own help.
func (v verb) usage(err error) error {
	if !errors.Is(err, edge.ErrUsage) || edge.Hinted(err) {
		return err
	}
	return edge.WithHint(err, "see 'metalrun %s --help'", v.name)
}

// help is the program's own help.
func (a *app) help() string {
	var b strings.Builder
	b.WriteString("metalrun installs, verifies and serves metalpack environments, and runs MLX models\n\nUsage:\n  metalrun COMMAND [flags]\n\nCommands:\n")
	for _, v := range a.verbs() {
		fmt.Fprintf(&b, "  %-10s %s\n", v.name, v.short)
	}
	b.WriteString("\nExample:\n  metalrun install\n  metalrun run ai/smollm2 \"Why is the sky blue?\"\n\n'metalrun COMMAND --help' tells more.\n\n" + edge.ExitStatus + "\n")
	return b.String()
}

func (v verb) help(fs *flag.FlagSet) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\nUsage:\n  %s\n\nExample:\n  %s\n\nFlags:\n", strings.TrimSpace(v.short+"\n\n"+v.long), strings.TrimSpace("metalrun "+v.name+" [flags] "+v.args), v.example)
	var flags bytes.Buffer
	fs.SetOutput(&flags)
	fs.PrintDefaults()
	b.WriteString(strings.ReplaceAll("\n"+flags.String(), "\n  -", "\n  --")[1:] + "\n" + edge.ExitStatus + "\n")
	return b.String()
}

// remote returns how registries are spoken to.
func (a *app) remote() remote.Options {
	return a.registry.Remote(a.Events())
}
