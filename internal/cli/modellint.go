// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
)

type modelLintOptions struct {
	format  string
	exclude []string
	allow   []string
}

func (a *app) newModelLintCmd() *cobra.Command {
	o := modelLintOptions{}
	cmd := &cobra.Command{
		Use:   "lint SOURCE|REFERENCE",
		Short: "say what is wrong with a model, and how to mend it",
		Long: "Check a model in a directory, on the hub (hf.co/ORG/NAME[@REVISION]), or an artifact\n" +
			"in a registry, layout or archive, of which only the manifest, small files and\n" +
			"safetensors headers are read. Errors are what 'model build' refuses: they exit with\n" +
			"1. Warnings alone exit with 0. What the author of an artifact allowed is reported all\n" +
			"the same. The text shows ten findings of a rule, JSON and SARIF all.",
		Example: "  metalpack model lint ./SmolLM2-135M\n" +
			"  metalpack model lint hf.co/mlx-community/SmolLM2-135M-Instruct-4bit\n" +
			"  metalpack model lint docker.io/ai/smollm2:135m --format sarif",
		Args: exactArgs("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runModelLint(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "text", "`form` of the result: text, sarif (2.1.0) or json, which is what --json gives")
	f.StringArrayVar(&o.exclude, "exclude", nil, "leave out files that match this `pattern`; may be repeated")
	f.StringArrayVar(&o.allow, "allow", nil, "let this lint `rule` pass; may be repeated")
	return cmd
}

// lintResult is the result of model lint.
type lintResult struct {
	Source   string          `json:"source"`
	Errors   int             `json:"errors"`
	Warnings int             `json:"warnings"`
	Findings []model.Finding `json:"findings"`
}

func (a *app) runModelLint(ctx context.Context, word string, o modelLintOptions) error {
	if err := a.format("model lint", o.format, "text", "sarif", "json"); err != nil {
		return err
	}
	if err := checkChoice(o.exclude, o.allow); err != nil {
		return err
	}
	findings, name, err := a.lintFindings(ctx, word, model.Options{Exclude: o.exclude, Allow: o.allow, Events: a.Events()})
	if err != nil {
		return err
	}
	r := lintResult{Source: name, Findings: findings}
	if r.Findings == nil {
		r.Findings = []model.Finding{}
	}
	for _, f := range findings {
		if f.Severity == model.SeverityError {
			r.Errors++
		} else {
			r.Warnings++
		}
	}
	if o.format == "sarif" {
		err = a.Document(sarifOf(r))
	} else {
		err = a.Result(r, lintText(r))
	}
	if r.Errors > 0 {
		err = errors.Join(err, edge.WithHint(edge.Errorf(bundle.ErrInvalid, "model lint: %s: %s", name, ui.Plural(r.Errors, "error")),
			"mend what is named, or let a rule pass with --allow RULE"))
	}
	return err
}

// checkChoice refuses patterns and rules that are none before anything is read
// for them.
func checkChoice(patterns, rules []string) error {
	if err := errors.Join(model.CheckPatterns(patterns), model.CheckRules(rules)); err != nil {
		return edge.Errorf(edge.ErrUsage, "%w", err)
	}
	return nil
}

// lintFindings lints a directory, a model on the hub, or what a reference
// names. A word that could be several is the directory.
func (a *app) lintFindings(ctx context.Context, word string, o model.Options) (findings []model.Finding, name string, err error) {
	if exists(word) || isPath(word) || isHub(word) {
		findings, err = a.lintOrigin(ctx, word, o)
		return findings, word, err
	}
	src, root, ref, closeSource, err := a.open(ctx, word, "ai")
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	if root.MediaType == bundle.MediaTypeIndex {
		return nil, "", edge.Errorf(bundle.ErrInvalid, "model lint: %s is an index, not the manifest of a model; Docker Model Runner refuses such a tag", ref)
	}
	if findings, err = model.LintArtifact(ctx, src, root, o); err != nil {
		return nil, "", fmt.Errorf("model %s: %w", ref, err)
	}
	return findings, ref.String(), nil
}

func (a *app) lintOrigin(ctx context.Context, word string, o model.Options) (findings []model.Finding, err error) {
	origin, closeOrigin, err := a.modelOrigin(ctx, word)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeOrigin()) }()
	return model.Lint(ctx, origin, o)
}

func lintText(r lintResult) string {
	var b strings.Builder
	for _, f := range model.Brief(r.Findings) {
		fmt.Fprintf(&b, "%s: %s\n", f.Severity, f)
	}
	fmt.Fprintf(&b, "%s: %s, %s\n", r.Source, ui.Plural(r.Errors, "error"), ui.Plural(r.Warnings, "warning"))
	return b.String()
}
