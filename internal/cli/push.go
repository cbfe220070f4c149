// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/edge"
)

func (a *app) newPushCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "push SOURCE REFERENCE",
		Short: "push an artifact from a layout, an archive or another registry to a registry",
		Long: "Push an environment, a model or an archive of inputs, as it is, with all that its\n" +
			"manifest names. Blobs that are there already are not sent again, and the tag, latest\n" +
			"if REFERENCE has none, comes last. stdout gets REFERENCE@DIGEST alone.",
		Example: "  metalpack push oci:out:0.30.0 docker.io/metalpack/vllm-metal:0.30.0\n" +
			"  metalpack push oci-archive:model.tar registry.example.com/ai/smollm2:135m\n" +
			"  metalpack push docker.io/ai/smollm2:135m registry.example.com/ai/smollm2:135m",
		Args: exactArgs("SOURCE", "REFERENCE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runPush(cmd.Context(), args[0], args[1]) },
	}
}

func (a *app) runPush(ctx context.Context, source, dest string) (err error) {
	to, err := parseSource(dest, "")
	if err != nil {
		return err
	}
	if to.Transport != bundle.TransportDocker {
		return edge.WithHint(edge.Usagef("push: %q is not in a registry", dest), "want a reference like registry.example.com/team/name:tag")
	}
	if to.Digest != "" {
		return edge.Usagef("push: %q: a digest cannot be chosen, only a tag", dest)
	}
	src, root, _, closeSource, err := a.open(ctx, source, "")
	if err != nil {
		if isDir(source) && !exists(filepath.Join(source, "oci-layout")) {
			err = edge.WithHint(err, "to push the model in the directory %s: metalpack model build %s -o docker://%s", source, edge.Quote(source), to)
		}
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	return a.deliver(ctx, src, root, to)
}

type pullOptions struct {
	dir     string
	include []string
}

func (a *app) newPullCmd() *cobra.Command {
	o := pullOptions{}
	cmd := &cobra.Command{
		Use:   "pull REFERENCE -o DIR",
		Short: "pull a model into a directory",
		Long: "Pull a model of any form (ModelPack, Docker v0.1 and v0.2, layers that are archives)\n" +
			"into a directory that an engine loads, or the MLX safetensors of a model on the hub,\n" +
			"hf.co/ORG/NAME[@REVISION]. The directory appears when every file is there and\n" +
			"verified. After a failure DIR.partial (DIR/.partial if DIR was there) keeps what\n" +
			"came, and the same command goes on from there. Of a model on the hub the commit is\n" +
			"printed, and 'model lint' has not judged it.",
		Example: "  metalpack pull docker.io/ai/smollm2:135m -o ./smollm2\n" +
			"  metalpack pull docker.io/ai/smollm2:135m -o ./tokenizer --include 'tokenizer*'\n" +
			"  metalpack pull hf.co/mlx-community/SmolLM2-135M-Instruct-4bit -o ./smollm2",
		Args: exactArgs("REFERENCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runPull(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().StringVarP(&o.dir, "output", "o", "", "`directory` to fill; absent, empty, or with files of the same model alone")
	cmd.Flags().StringArrayVar(&o.include, "include", nil, "pull the files that match this `pattern` alone; may be repeated")
	return cmd
}

func (a *app) runPull(ctx context.Context, word string, o pullOptions) (err error) {
	if o.dir == "" {
		return edge.Usagef("pull: missing -o DIR")
	}
	if err := checkChoice(o.include, nil); err != nil {
		return err
	}
	to := model.PullOptions{Include: o.include, Events: a.Events()}
	if isHub(word) {
		return a.pullHub(ctx, word, o.dir, to)
	}
	src, root, ref, closeSource, err := a.openModel(ctx, word)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	to.Name = ref.String()
	if err := model.Pull(ctx, src, root, o.dir, to); err != nil {
		return err
	}
	ref.Digest = root.Digest
	return a.Result(written{Reference: ref.String(), Digest: root.Digest.String(), MediaType: root.MediaType, Size: root.Size}, ref.String()+"\n")
}

// pullHub pulls a model of the hub. What 'model build' would refuse may be
// mended in the directory, so only what cannot be read is refused.
func (a *app) pullHub(ctx context.Context, word, dir string, to model.PullOptions) error {
	repo, err := a.openHub(ctx, word)
	if err != nil {
		return err
	}
	art, err := model.Build(ctx, repo.Origin(), model.Options{Allow: model.Allowable(), Events: a.Events()})
	if err != nil {
		return err
	}
	if err := model.Pull(ctx, art, art.Root(), dir, to); err != nil {
		return err
	}
	pinned := hub.Reference{Repo: repo.Name(), Revision: repo.Commit()}.String()
	return a.Result(struct {
		Reference string `json:"reference"`
		Size      int64  `json:"size"` // bytes of all files
	}{pinned, art.Model().Size()}, pinned+"\n")
}
