// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/edge"
)

// modelFormats are the words of --format, and what each writes: the first
// under the tag itself, the second beside it.
var modelFormats = map[string][]model.Flavor{
	"modelpack": {model.FlavorModelPack},
	"docker":    {model.FlavorDocker},
	"both":      {model.FlavorModelPack, model.FlavorDocker},
}

// dockerSuffix is what the tag of the second format ends in.
const dockerSuffix = "-docker"

type modelBuildOptions struct {
	dest    string
	format  string
	exclude []string
	allow   []string
	facts   model.Facts
}

func (a *app) newModelCmd() *cobra.Command {
	parent := &cobra.Command{
		Use: "model", Short: "build and check model artifacts",
		Args: cobra.ArbitraryArgs, RunE: group,
	}
	o := modelBuildOptions{}
	build := &cobra.Command{
		Use:   "build SOURCE -o DEST",
		Short: "build a model artifact from MLX safetensors",
		Long: "Build the artifact of the MLX safetensors model in a directory, in a snapshot of the\n" +
			"Hugging Face cache, on the hub as hf.co/ORG/NAME[@REVISION], or in an artifact of\n" +
			"either format, which is named with its registry or transport; check it as 'model\n" +
			"lint' does, and write it to the destination. Equal files give equal digests. What\n" +
			"the model card says of licence and base model, and the hub or its cache of repository\n" +
			"and commit, is recorded; flags go before it. stdout gets REFERENCE@DIGEST alone, one\n" +
			"line per format.\n\n" +
			"From the hub the weights stream to the destination: into a registry they go without a\n" +
			"copy on disk. A revision is a branch, tag or commit (default: main). HF_TOKEN, or the\n" +
			"token that 'hf auth login' keeps, opens gated and private models; HF_ENDPOINT is the\n" +
			"address of another hub.",
		Example: "  metalpack model build hf.co/mlx-community/SmolLM2-135M-Instruct-4bit -o docker://registry.example.com/ai/smollm2:135m\n" +
			"  metalpack model build ./SmolLM2-135M -o docker://registry.example.com/ai/smollm2:135m\n" +
			"  metalpack model build ./SmolLM2-135M -o oci:out:135m --format both --exclude '*.py'\n" +
			"  metalpack model build docker.io/ai/smollm2:135m -o oci:out:docker --format docker",
		Args: exactArgs("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runModelBuild(cmd.Context(), args[0], o) },
	}
	o.addFlags(build.Flags())
	parent.AddCommand(build, a.newModelLintCmd())
	return parent
}

func (o *modelBuildOptions) addFlags(f *pflag.FlagSet) {
	f.StringVarP(&o.dest, "output", "o", "", "`destination`: docker://REF, oci:DIR[:tag] or oci-archive:FILE[:NAME]")
	f.StringVar(&o.format, "format", "modelpack", "`form` of the artifact: modelpack, docker, or both over the same blobs, docker's as TAG"+dockerSuffix)
	f.StringArrayVar(&o.exclude, "exclude", nil, "leave out files that match this `pattern`; may be repeated")
	f.StringArrayVar(&o.allow, "allow", nil, "let this lint `rule` pass; recorded in the artifact; may be repeated")
	f.StringVar(&o.facts.License, "license", "", "licence, by its SPDX `name`")
	f.StringVar(&o.facts.Source, "source", "", "`address` of the repository the model is from")
	f.StringVar(&o.facts.Revision, "revision", "", "`commit` in that repository")
	f.StringVar(&o.facts.BaseModel, "base-model", "", "`model` it was made from, like org/name")
}

func (a *app) runModelBuild(ctx context.Context, source string, o modelBuildOptions) (err error) {
	flavors, ok := modelFormats[o.format]
	if !ok {
		return edge.Usagef("model build: --format %q: want modelpack, docker or both", o.format)
	}
	dest, err := parseDest("model build", "-o", o.dest, "ai")
	if err != nil {
		return err
	}
	if err := checkChoice(o.exclude, o.allow); err != nil {
		return err
	}
	origin, closeOrigin, err := a.modelOrigin(ctx, source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeOrigin()) }()
	to, moved := &place{app: a, ref: dest}, a.tally()
	defer func() { err = errors.Join(err, to.Close()) }()
	art, err := model.Build(ctx, origin, model.Options{
		Exclude: o.exclude, Allow: o.allow, Facts: o.facts, Events: a.Events(),
		Into: &model.Into{Open: to.ingester, Tag: tagOf(dest), Events: moved.event},
	})
	if err != nil {
		return err
	}
	all, err := a.writeModel(ctx, art, flavors, to, moved)
	if err != nil {
		return err
	}
	if len(all) == 1 {
		return a.Result(all[0], lines(all))
	}
	return a.Result(all, lines(all))
}

// writeModel writes a model in one format or two, which show together. moved
// has counted what was sent for the first.
func (a *app) writeModel(ctx context.Context, art *model.Artifact, flavors []model.Flavor, to *place, moved *tally) (all []written, err error) {
	var notes []func()
	for i, flavor := range flavors {
		one, err := art.In(flavor)
		if err != nil {
			return nil, err
		}
		dest, counted := beside(to.ref, i > 0), moved
		if i > 0 {
			counted = a.tally()
		}
		w, err := to.put(ctx, one, one.Root(), dest, counted)
		if err != nil {
			return nil, err
		}
		all = append(all, w)
		notes = append(notes, func() { a.noteMoved(dest, counted) })
	}
	if err := to.dst.Commit(ctx); err != nil {
		return nil, err
	}
	for _, note := range notes {
		note()
	}
	return all, nil
}

// beside is where the second format goes.
func beside(dest bundle.Reference, second bool) bundle.Reference {
	if second {
		dest.Tag = tagOf(dest) + dockerSuffix
	}
	return dest
}

// lines has a reference in each.
func lines(all []written) string {
	var b strings.Builder
	for _, w := range all {
		b.WriteString(w.Reference + "\n")
	}
	return b.String()
}
