// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/edge"
)

func (a *app) newPushCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "push SOURCE REFERENCE",
		Short:   "push an artifact from a layout or archive to a registry",
		Example: "  metalpack push oci:out:0.30.0 docker.io/metalpack/vllm-metal:0.30.0",
		Args:    exactArgs("SOURCE", "REFERENCE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runPush(cmd.Context(), args[0], args[1]) },
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
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	return a.deliver(ctx, src, root, to)
}

func (a *app) newPullCmd() *cobra.Command {
	var dir string
	var include []string
	cmd := &cobra.Command{
		Use:   "pull REFERENCE -o DIR",
		Short: "pull a model into a directory",
		Long: "Pull a model of any form (ModelPack, Docker v0.1 and v0.2, layers that are archives)\n" +
			"into a directory that an engine loads. It appears when every file is there and\n" +
			"verified. After a failure DIR.partial (DIR/.partial if DIR was there) keeps what\n" +
			"came, and the same command goes on from there.",
		Example: "  metalpack pull docker.io/ai/smollm2:135m -o ./smollm2\n" +
			"  metalpack pull docker.io/ai/smollm2:135m -o ./tokenizer --include 'tokenizer*'",
		Args: exactArgs("REFERENCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runPull(cmd.Context(), args[0], dir, include)
		},
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "", "directory to fill; absent, empty, or with files of the same model alone")
	cmd.Flags().StringArrayVar(&include, "include", nil, "pull the files that match this pattern alone; may be repeated")
	return cmd
}

func (a *app) runPull(ctx context.Context, word, dir string, include []string) (err error) {
	if dir == "" {
		return edge.Usagef("pull: missing -o DIR")
	}
	src, root, ref, closeSource, err := a.open(ctx, word, "ai")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	if root.MediaType == bundle.MediaTypeIndex {
		return edge.WithHint(edge.Errorf(bundle.ErrInvalid, "pull: %s is an environment, not a model", ref),
			"'metalrun install %s' installs it, 'metalpack inspect %s' shows what is in it", ref, ref)
	}
	if err := model.Pull(ctx, src, root, dir, model.PullOptions{Include: include, Events: a.events()}); err != nil {
		return err
	}
	ref.Digest = root.Digest
	return a.result(written{Reference: ref.String(), Digest: root.Digest.String(), MediaType: root.MediaType, Size: root.Size}, ref.String()+"\n")
}
