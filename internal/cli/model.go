// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/bundle/model"
)

type modelBuildOptions struct {
	dest    string
	exclude []string
	allow   []string
}

func (a *app) newModelCmd() *cobra.Command {
	parent := &cobra.Command{
		Use: "model", Short: "build model artifacts",
		Args: cobra.ArbitraryArgs, RunE: group,
	}
	o := modelBuildOptions{}
	build := &cobra.Command{
		Use:     "build DIR -o DEST",
		Short:   "build a model artifact from a directory of MLX safetensors",
		Example: "  metalpack model build ./SmolLM2-135M -o docker://registry.example.com/ai/smollm2:135m",
		Args:    exactArgs("DIR"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runModelBuild(cmd.Context(), args[0], o) },
	}
	f := build.Flags()
	f.StringVarP(&o.dest, "output", "o", "", "destination: docker://REF, oci:DIR[:tag] or oci-archive:FILE[:NAME]")
	f.StringArrayVar(&o.exclude, "exclude", nil, "leave out files that match this pattern; may be repeated")
	f.StringArrayVar(&o.allow, "allow", nil, "let this lint rule pass; recorded in the artifact; may be repeated")
	parent.AddCommand(build)
	return parent
}

func (a *app) runModelBuild(ctx context.Context, dir string, o modelBuildOptions) error {
	dest, err := parseDest("model build", o.dest, "ai")
	if err != nil {
		return err
	}
	art, err := model.FromDir(ctx, dir, model.Options{Exclude: o.exclude, Allow: o.allow, Events: a.events()})
	if err != nil {
		return err
	}
	return a.deliver(ctx, art, art.Root(), dest)
}
