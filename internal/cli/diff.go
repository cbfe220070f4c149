// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
)

// diffResult is the result of diff.
type diffResult struct {
	From      diffEnd        `json:"from"`
	To        diffEnd        `json:"to"`
	Platforms []platformDiff `json:"platforms"`
}

// diffEnd is one of the two environments.
type diffEnd struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	Name      string `json:"name"`
	Release   string `json:"release"`
}

// platformDiff compares one platform; only one that both have has a diff.
type platformDiff struct {
	Platform string                  `json:"platform"`
	Floor    string                  `json:"floor"` // of the new environment, if it has the platform
	Kind     bundle.ChangeKind       `json:"kind"`  // same, changed, added or removed
	Diff     *bundle.EnvironmentDiff `json:"diff,omitempty"`
}

type diffOptions struct {
	format    string
	platforms []string
}

func (a *app) newDiffCmd() *cobra.Command {
	o := diffOptions{}
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "show what changes between two environments, and what an upgrade downloads",
		Long: "Compare two environments by their manifests and metadata layers: packages, interpreter,\n" +
			"decisions, launch profiles, probes and layers of each platform, and the bytes that an\n" +
			"upgrade costs in each codec: by digest (what a client fetches that keeps the old blobs)\n" +
			"and by content (what metalrun fetches, which takes equal files from the old version).\n" +
			"The exit status is 0 whether or not they differ.",
		Example: "  metalpack diff docker.io/metalpack/vllm-metal:0.30.0 oci:out:0.31.0\n" +
			"  metalpack diff oci:old oci:new --format markdown --platform darwin/arm64",
		Args: exactArgs("OLD", "NEW"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runDiff(cmd.Context(), args[0], args[1], o)
		},
	}
	cmd.Flags().StringVar(&o.format, "format", "text", "`form` of the result: text, markdown or json, which is what --json gives")
	cmd.Flags().StringArrayVar(&o.platforms, "platform", nil, "`platform` to compare, like darwin/arm64; may be repeated (default: all)")
	return cmd
}

func (a *app) runDiff(ctx context.Context, from, to string, o diffOptions) error {
	if err := a.format("diff", o.format, "text", "markdown", "json"); err != nil {
		return err
	}
	if err := checkPlatforms(o.platforms); err != nil {
		return err
	}
	old, err := a.environment(ctx, "diff", from)
	if err != nil {
		return err
	}
	next, err := a.environment(ctx, "diff", to)
	if err != nil {
		return err
	}
	out := diffResult{From: old.end(), To: next.end(), Platforms: pairs(old, next)}
	if len(o.platforms) > 0 {
		if out.Platforms, err = out.only(o.platforms); err != nil {
			return err
		}
	}
	if o.format == "markdown" {
		return a.Result(out, out.markdown())
	}
	return a.Result(out, out.text(a.Table))
}

func (out *inspected) end() diffEnd {
	return diffEnd{Reference: out.Reference, Digest: out.Digest, Name: out.Name, Release: out.Release}
}

// only keeps platforms that were asked for. One that neither environment has is
// an error that wraps [bundle.ErrUnsupportedHost].
func (d *diffResult) only(wanted []string) (kept []platformDiff, err error) {
	have := make([]string, 0, len(d.Platforms))
	for _, p := range d.Platforms {
		have = append(have, p.Platform)
	}
	if err := havePlatforms("diff: neither environment has", wanted, have); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(d.Platforms, func(p platformDiff) bool { return !slices.Contains(wanted, p.Platform) }), nil
}

// pairs compares platform by platform. Where one has several floors those that
// are equal are compared; otherwise the floor itself may have changed.
func pairs(old, next inspected) []platformDiff {
	before, after := old.variants(), next.variants()
	out := make([]platformDiff, 0, len(after))
	for _, v := range after {
		i := slices.IndexFunc(before, func(o *inspectedManifest) bool { return o.Platform == v.Platform && o.Floor == v.Floor })
		if i < 0 && floors(before, v.Platform) == 1 && floors(after, v.Platform) == 1 {
			i = slices.IndexFunc(before, func(o *inspectedManifest) bool { return o.Platform == v.Platform })
		}
		row := platformDiff{Platform: v.Platform, Floor: v.Floor, Kind: bundle.ChangeAdded}
		if i >= 0 {
			diff := bundle.CompareEnvironments(old.side(before[i]), next.side(v), target.CompareVersions)
			row.Kind, row.Diff = bundle.ChangeOther, &diff
			if before[i].VersionID == v.VersionID {
				row.Kind = bundle.ChangeNone
			}
			before = slices.Delete(before, i, i+1)
		}
		out = append(out, row)
	}
	for _, v := range before {
		out = append(out, platformDiff{Platform: v.Platform, Floor: v.Floor, Kind: bundle.ChangeRemoved})
	}
	return out
}

// floors is the number of variants of a platform.
func floors(all []*inspectedManifest, platform string) (n int) {
	for _, m := range all {
		if m.Platform == platform {
			n++
		}
	}
	return n
}

// variants are the first manifests of each tree.
func (out *inspected) variants() (all []*inspectedManifest) {
	for i := range out.Manifests {
		if m := &out.Manifests[i]; m.Environment != nil {
			all = append(all, m)
		}
	}
	return all
}

// side gathers the codecs of a variant.
func (out *inspected) side(v *inspectedManifest) bundle.EnvironmentSide {
	s := bundle.EnvironmentSide{Environment: v.Environment, Tree: v.tree}
	for _, m := range out.Manifests {
		if m.TreeDigest != v.TreeDigest || m.Platform != v.Platform {
			continue
		}
		c := bundle.CodecLayers{Codec: codecName(m.Codec)}
		for _, l := range m.Layers {
			c.Layers = append(c.Layers, l.Descriptor)
		}
		s.Manifests = append(s.Manifests, c)
	}
	return s
}

// heading says what is compared.
func (d diffResult) heading() string {
	if d.From.Name == d.To.Name {
		return fmt.Sprintf("%s %s -> %s", d.To.Name, d.From.Release, d.To.Release)
	}
	return fmt.Sprintf("%s %s -> %s %s", d.From.Name, d.From.Release, d.To.Name, d.To.Release)
}
