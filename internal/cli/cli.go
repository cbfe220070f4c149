// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package cli is metalpack's command line: one file per verb, each with its
// options, its help and a run function that can be called without cobra. It
// and internal/runcli are the only packages that print.
//
// stdout carries results alone, stderr progress and errors; --json makes both
// the result and a final error JSON.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
)

// app is one run of the program: the process, and the flags of every verb.
type app struct {
	env       *edge.Env
	screen    *ui.Renderer
	json      bool
	progress  string
	plainHTTP bool
	caFile    string
	cacheDir  string

	allowRealms []string
}

// Main runs the command line in env and returns the exit code.
func Main(ctx context.Context, env *edge.Env) int {
	env.Program, env.Rows = "metalpack", rows()
	a := &app{env: env}
	root := a.root()
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	a.clear()
	switch {
	case err == nil:
	case context.Cause(ctx) != nil:
		err = context.Canceled
	case errors.Is(err, edge.ErrUsage) && !edge.Hinted(err):
		err = edge.WithHint(err, "see '%s --help'", cmd.CommandPath())
	}
	return env.Fail(err, a.json)
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
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.openScreen() },

		SuggestionsMinimumDistance: 2,
	}
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "print the result, and an error, as JSON")
	f.StringVar(&a.progress, "progress", ui.DefaultMode, ui.Usage)
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
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return edge.Usagef("%s: missing %s", words(cmd), names[len(args)])
		}
		if len(args) > len(names) {
			return edge.Usagef("%s: unexpected argument %q", words(cmd), args[len(names)])
		}
		return nil
	}
}

// openScreen decides how progress is shown, for the whole command.
func (a *app) openScreen() error {
	mode, err := ui.ParseMode(a.progress)
	if err == nil {
		a.screen = ui.New(a.env.Stderr, mode, a.env.Getenv)
	}
	return err
}

// events returns where progress goes.
func (a *app) events() bundle.EventFunc {
	if a.screen == nil {
		return nil
	}
	return a.screen.Event
}

// clear takes progress off the terminal before something else is printed there.
func (a *app) clear() {
	if a.screen != nil { // the command line did parse
		a.screen.Clear()
	}
}

// note tells the user something on stderr.
func (a *app) note(format string, args ...any) {
	a.events().Emit(bundle.Event{Kind: bundle.EventNote, Reason: fmt.Sprintf(format, args...)})
}

// remote returns how registries are spoken to.
func (a *app) remote() remote.Options {
	return remote.Options{PlainHTTP: a.plainHTTP, CAFile: a.caFile, AllowRealms: a.allowRealms, Events: a.events()}
}

// result prints v as JSON under --json, else text.
func (a *app) result(v any, text string) error {
	a.clear()
	if !a.json {
		_, err := fmt.Fprint(a.env.Stdout, edge.Clean(text))
		return err
	}
	return a.document(v)
}

// document prints v as JSON, whatever the flags say.
func (a *app) document(v any) error {
	enc := json.NewEncoder(a.env.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
