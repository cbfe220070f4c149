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
	"strings"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
)

// app is one run of the program: the process, and the flags of every verb.
type app struct {
	ui.Console

	plainHTTP bool
	caFile    string
	cacheDir  string

	allowRealms []string
}

// Main runs the command line in env and returns the exit code.
func Main(ctx context.Context, env *edge.Env) int {
	env.Program, env.Rows = "metalpack", rows()
	a := &app{Console: ui.Console{Env: env}}
	root := a.root()
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if errors.Is(err, edge.ErrUsage) && !edge.Hinted(err) {
		err = edge.WithHint(err, "see '%s --help'", cmd.CommandPath())
	}
	return a.End(ctx, err)
}

// root builds the tree of verbs.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:               "metalpack",
		Short:             "build Python environments for Macs, and MLX models, into OCI artifacts",
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		Args:              cobra.ArbitraryArgs,
		RunE:              group,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.Open() },

		SuggestionsMinimumDistance: 2,
	}
	f := root.PersistentFlags()
	f.BoolVar(&a.JSON, "json", false, ui.UsageJSON)
	f.StringVar(&a.Progress, "progress", ui.DefaultMode, ui.Usage)
	f.BoolVar(&a.plainHTTP, "plain-http", false, "talk to registries without TLS (loopback always is)")
	f.StringVar(&a.caFile, "ca-file", "", "certificates to trust besides the system's, PEM")
	f.StringArrayVar(&a.allowRealms, "allow-realm", nil, "host that may take logins although its address is private and the registry's is not; may be repeated")
	f.StringVar(&a.cacheDir, "cache", "", "cache directory (default: metalpack in the user cache directory)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return edge.Usagef("%v", err) })
	root.SetHelpTemplate(`{{with (or .Long .Short)}}{{.}}

{{end}}{{.UsageString}}
` + edge.ExitStatus + "\n")
	root.AddCommand(a.verbs()...)
	return root
}

// group is what a command does that only has others below it.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	err := edge.Usagef("unknown command %q", strings.TrimSpace(words(cmd)+" "+args[0]))
	cmd.SuggestionsMinimumDistance = 2
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		return edge.WithHint(err, "did you mean '%s %s'? '%s --help' lists all", cmd.CommandPath(), like[0], cmd.CommandPath())
	}
	return err
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

// remote returns how registries are spoken to.
func (a *app) remote() remote.Options {
	return remote.Options{PlainHTTP: a.plainHTTP, CAFile: a.caFile, AllowRealms: a.allowRealms, Events: a.Events()}
}
