// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/builder"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ui"
	"github.com/metalpack/metalpack/recipes"
)

type buildOptions struct {
	inputOptions
	dest   string
	dryRun bool
}

func (a *app) newBuildCmd() *cobra.Command {
	o := buildOptions{}
	cmd := &cobra.Command{
		Use:   "build RECIPE -o DEST",
		Short: "build an environment into an OCI artifact",
		Long: "Build the environment of a recipe, a directory or the name of an embedded one, for\n" +
			"its targets, and write it as one image index to the destination. Equal recipes and\n" +
			"locks give equal digests on every machine. stdout gets REFERENCE@DIGEST alone.\n\n" +
			"--dry-run shows the plan instead: packages, layers, what is cached and what would be\n" +
			"downloaded; with --inputs-from, what would come from there; with -o, which layers\n" +
			"the destination has and what would be sent. It writes nothing, and needs neither\n" +
			"uv nor a network but for what these two name.",
		Example: "  metalpack build mlx-lm -o oci:out:0.32.2\n" +
			"  metalpack build vllm-metal --dry-run\n" +
			"  metalpack build ./my-recipe --platform linux/amd64 -o docker://registry.example.com/team/engine:1",
		Args: exactArgs("RECIPE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runBuild(cmd.Context(), args[0], o) },
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().StringVarP(&o.dest, "output", "o", "", "`destination`: docker://REF, oci:DIR[:tag] or oci-archive:FILE[:NAME]")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show the plan; write and fetch nothing")
	return cmd
}

func (a *app) runBuild(ctx context.Context, name string, o buildOptions) error {
	begin := time.Now()
	if err := o.validate(); err != nil {
		return err
	}
	var dest bundle.Reference
	if !o.dryRun || o.dest != "" {
		var err error
		if dest, err = parseDest("build", "-o", o.dest, ""); err != nil {
			return err
		}
	}
	r, err := recipes.Load(name)
	if err != nil {
		return err
	}
	all, err := gather(r, o.platforms)
	if err != nil {
		return err
	}
	if o.dryRun {
		return a.runDryRun(ctx, r, all, dest, o)
	}
	if err := a.fetch(ctx, r, all, o.inputOptions); err != nil {
		return err
	}
	var variants []*builder.Variant
	sum := newSummary(r, a.Events())
	for _, t := range all {
		v, err := a.buildTarget(ctx, r, t, sum)
		if err != nil {
			return fmt.Errorf("%s %s: %w", r.Name, t.target.Platform, err)
		}
		variants = append(variants, v)
	}
	art, err := builder.Assemble(variants)
	if err != nil {
		return err
	}
	moved := a.tally()
	out, err := a.transfer(ctx, art, art.Root(), dest, moved)
	if err != nil {
		return err
	}
	sum.written, sum.Sent, sum.There = out, moved.done.Load(), moved.skipped.Load()
	if err := sum.measure(ctx, art); err != nil {
		return err
	}
	sum.Seconds = time.Since(begin).Seconds()
	if a.Screen().Mode() != ui.Quiet {
		a.Note("%s", sum.text())
	}
	return a.Result(sum, out.Reference+"\n")
}

// buildTarget plans and builds one target.
func (a *app) buildTarget(ctx context.Context, r *recipes.Recipe, t *targetInputs, sum *summary) (*builder.Variant, error) {
	in, err := a.builderInput(r, t)
	if err != nil {
		return nil, err
	}
	in.Events = sum.layers.event
	say := func(o builder.Outline) *builtTarget {
		a.Note("%s %s for %s: %s", r.Name, r.Release, t.target.Platform, outlineText(o))
		a.Screen().Expect(o.Layers, o.Size)
		return sum.add(in.Platform, o)
	}
	v, known, err := builder.Recall(ctx, in)
	if err != nil {
		return nil, err
	}
	var out *builtTarget
	if known {
		out = say(v.Outline)
	} else if v, err = planAndBuild(ctx, in, func(o builder.Outline) { out = say(o) }); err != nil {
		return nil, err
	}
	if v.Binaries.Binaries > 0 {
		out.Binaries = v.Binaries
		if a.Screen().Mode() != ui.Quiet {
			a.Note("%s", strings.TrimSuffix(v.Binaries.Text(), "\n"))
		}
	}
	return v, nil
}

// planAndBuild builds what is planned, after it was told of.
func planAndBuild(ctx context.Context, in builder.Input, planned func(builder.Outline)) (v *builder.Variant, err error) {
	plan, err := builder.NewPlan(ctx, in)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	planned(plan.Outline())
	return plan.Build(ctx)
}
