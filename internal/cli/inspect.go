// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/bundle/unpack"
	"github.com/metalpack/metalpack/internal/ui"
)

// inspected is the result of inspect: an environment's index, or a model.
type inspected struct {
	Reference string              `json:"reference"`
	Digest    string              `json:"digest"`
	Manifests []inspectedManifest `json:"manifests,omitempty"`
	Model     *model.Model        `json:"model,omitempty"`
}

// inspectedManifest is one entry of an environment's index.
type inspectedManifest struct {
	Digest      string              `json:"digest"`
	Platform    string              `json:"platform"`
	Floor       string              `json:"floor"`
	Codec       string              `json:"codec"`
	Size        int64               `json:"size"` // bytes of all layers, compressed
	Layers      []bundle.Descriptor `json:"layers"`
	Environment *bundle.Environment `json:"environment,omitempty"` // of the first manifest of a platform
}

func (a *app) newInspectCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "inspect REFERENCE",
		Short:   "show what an environment or a model is made of",
		Example: "  metalpack inspect oci:out:0.32.2",
		Args:    exactArgs("REFERENCE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runInspect(cmd.Context(), args[0]) },
	}
}

func (a *app) runInspect(ctx context.Context, word string) (err error) {
	src, root, ref, closeSource, err := a.open(ctx, word, "ai")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	out := inspected{Reference: ref.String(), Digest: root.Digest.String()}
	if root.MediaType == bundle.MediaTypeManifest {
		if out.Model, _, err = model.Read(ctx, src, root); err != nil {
			return err
		}
		return a.result(out, modelText(out))
	}
	data, err := src.Manifest(ctx, root)
	if err != nil {
		return err
	}
	index, err := bundle.ParseIndex(data)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, d := range index.Manifests {
		m, err := inspectManifest(ctx, src, d, seen)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Digest, err)
		}
		out.Manifests = append(out.Manifests, m)
	}
	return a.result(out, indexText(out))
}

// inspectManifest reads one manifest, and the metadata layer of the first of
// each platform.
func inspectManifest(ctx context.Context, src bundle.Source, d bundle.Descriptor, seen map[string]bool) (inspectedManifest, error) {
	out := inspectedManifest{Digest: d.Digest.String(), Floor: d.Annotations[bundle.AnnotationFloor], Codec: d.Annotations[bundle.AnnotationCodec]}
	if d.Platform != nil {
		out.Platform = d.Platform.OS + "/" + d.Platform.Architecture
	}
	data, err := src.Manifest(ctx, d)
	if err != nil {
		return out, err
	}
	m, err := bundle.ParseManifest(data)
	if err != nil {
		return out, err
	}
	out.Layers = m.Layers
	if out.Codec == "" {
		out.Codec = m.Annotations[bundle.AnnotationCodec]
	}
	for _, l := range m.Layers {
		out.Size += l.Size
	}
	if key := out.Platform + " " + out.Floor; !seen[key] {
		seen[key] = true
		out.Environment, err = readEnvironment(ctx, src, m)
	}
	return out, err
}

// readEnvironment fetches the metadata layer.
func readEnvironment(ctx context.Context, src bundle.Source, m *ocispec.Manifest) (_ *bundle.Environment, err error) {
	for _, l := range m.Layers {
		if l.Annotations[bundle.AnnotationLayer] != bundle.MetadataLayer {
			continue
		}
		rc, err := src.Open(ctx, l, 0)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, rc.Close()) }()
		env, _, _, err := unpack.Metadata(ctx, rc, l, "")
		return env, err
	}
	return nil, fmt.Errorf("no metadata layer, so not an environment of metalpack: %w", bundle.ErrInvalid)
}

func indexText(out inspected) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", out.Reference, out.Digest)
	for _, m := range out.Manifests {
		if e := m.Environment; e != nil {
			fmt.Fprintf(&b, "\n%s %s for %s (%s), CPython %s\n", e.Name, e.Release, m.Platform, m.Floor, e.Interpreter.Version)
			for _, p := range e.Packages {
				fmt.Fprintf(&b, "  %s %s  %s\n", p.Name, p.Version, p.Layer)
			}
			for _, d := range e.Decisions {
				fmt.Fprintf(&b, "  %s %s: %s\n", d.Kind, strings.TrimSpace(d.Package+" "+d.Rule+" "+d.Path), d.Reason)
			}
		}
		fmt.Fprintf(&b, "\nmanifest %s %s\n  %s, %d layers, %s\n", m.Platform, m.Digest, m.Codec, len(m.Layers), ui.Bytes(m.Size))
		for _, l := range m.Layers {
			fmt.Fprintf(&b, "  %s  %8s  %s\n", l.Digest.Encoded()[:12], ui.Bytes(l.Size), l.Annotations[bundle.AnnotationLayer])
		}
	}
	return b.String()
}
