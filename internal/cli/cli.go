// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package cli is metalpack's command line: one file per verb, each with its
// options, its help and a run function that can be called without cobra. It
// and internal/runcli are the only packages that print.
//
// stdout carries results alone, stderr progress and errors; --json makes the
// result, or the error with what there is of a result, one JSON document.
package cli

import (
	"context"
	"errors"
	"flag"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
)

// app is one run of the program: the process, and the flags of every verb.
type app struct {
	ui.Console

	registry edge.Registry
	cacheDir string
}

// Main runs the command line in env and returns the exit code.
func Main(ctx context.Context, env *edge.Env) int {
	env.Program, env.Rows = "metalpack", rows()
	a := &app{Console: ui.Console{Env: env}}
	root := a.root()
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	help := &helpOutput{app: a}
	root.SetOut(help)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if errors.Is(err, edge.ErrUsage) && !edge.Hinted(err) {
		err = edge.WithHint(err, "see '%s --help'", cmd.CommandPath())
	}
	return a.End(ctx, errors.Join(err, help.err))
}

// helpOutput is where cobra writes help and scripts. It keeps the error, which
// cobra would print or forget.
type helpOutput struct {
	app *app
	err error
}

// Write implements io.Writer.
func (h *helpOutput) Write(p []byte) (int, error) {
	if h.err == nil {
		h.err = h.app.Print(string(p))
	}
	return len(p), nil
}

// root builds the tree of verbs.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:               "metalpack",
		Short:             "build Python environments for Macs, and MLX models, into OCI artifacts",
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		Args:              cobra.ArbitraryArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.Open() },
	}
	version := root.Flags().Bool("version", false, "print the version of this program")
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if *version {
			return a.runVersion()
		}
		return group(cmd, args)
	}
	root.SetHelpCommand(newHelpCmd())
	f := root.PersistentFlags()
	both := flag.NewFlagSet("", flag.ContinueOnError) // what metalrun has too
	a.Flags(both)
	a.registry.Flags(both)
	f.AddGoFlagSet(both)
	f.StringVar(&a.cacheDir, "cache", "", "cache `directory` (default: metalpack in the user cache directory)")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpTemplate(`{{with (or .Long .Short)}}{{.}}

{{end}}{{.UsageString}}
` + edge.ExitStatus + "\n")
	root.AddCommand(a.verbs()...)
	tellCompletion(root)
	return root
}

// group is what a command does that only has others below it.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var known []string
	for _, c := range cmd.Commands() {
		known = append(known, c.Name())
	}
	return edge.UnknownCommand(cmd.CommandPath(), args[0], known)
}

// flagError is the usage error of flags that do not parse.
func flagError(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || unknown.GetSpecifiedShortnames() != "" {
		return edge.Usagef("%v", err)
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	return edge.UnknownFlag(cmd.CommandPath(), unknown.GetSpecifiedName(), known)
}

// newHelpCmd is cobra's help command, but that a word that is no command is an
// error.
func newHelpCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "tell how a command is used",
		Example: "  metalpack help model build",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return edge.Usagef("%v", err)
			}
			if len(rest) > 0 && about.HasSubCommands() {
				return group(about, rest)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// tellCompletion has cobra's completion commands speak like the others.
func tellCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Short, c.Long = "print a completion script for a shell", "" // how to load it each shell's help says
		c.Args, c.RunE = cobra.ArbitraryArgs, group
		for _, shell := range c.Commands() {
			shell.Short, shell.Args = "print the script for "+shell.Name(), exactArgs()
			shell.Example = "  metalpack completion " + shell.Name() + " >FILE"
		}
	}
}

// words is the path of a command without the program's name.
func words(cmd *cobra.Command) string {
	_, rest, _ := strings.Cut(cmd.CommandPath(), " ")
	return rest
}

// exactArgs is cobra.ExactArgs as a usage error that names what is missing.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error { return edge.WantArgs(words(cmd), args, names...) }
}

// format checks the --format of a verb; json is another way to say --json.
func (a *app) format(verb, word string, known ...string) error {
	if !slices.Contains(known, word) {
		last := len(known) - 1
		return edge.Usagef("%s: --format %q: want %s or %s", verb, word, strings.Join(known[:last], ", "), known[last])
	}
	a.JSON = a.JSON || word == "json"
	return nil
}

// remote returns how registries are spoken to.
func (a *app) remote() remote.Options {
	return a.registry.Remote(a.Events())
}
