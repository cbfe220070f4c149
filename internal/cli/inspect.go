// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/bundle/unpack"
	"github.com/metalpack/metalpack/internal/edge"
)

// inspected is the result of inspect: an environment's index, or a model.
type inspected struct {
	Reference string              `json:"reference"`
	Digest    string              `json:"digest"`
	Name      string              `json:"name,omitempty"`    // of the environment
	Release   string              `json:"release,omitempty"` // of the environment
	Size      int64               `json:"size,omitempty"`    // bytes of all blobs and manifests of the environment, each once
	Manifests []inspectedManifest `json:"manifests,omitempty"`
	Model     *model.Model        `json:"model,omitempty"`
}

// inspectedManifest is one entry of an environment's index.
type inspectedManifest struct {
	Digest     string           `json:"digest"`
	Platform   string           `json:"platform"`
	Floor      string           `json:"floor"`
	Codec      string           `json:"codec"`
	Size       int64            `json:"size"` // bytes of all layers, compressed
	TreeDigest string           `json:"treeDigest"`
	VersionID  string           `json:"versionId"` // directory name of an installed version
	Layers     []inspectedLayer `json:"layers"`

	// Of the first manifest of a platform; its twins hold the same.
	Files       int                 `json:"files,omitempty"`
	Unpacked    int64               `json:"unpacked,omitempty"` // bytes of all files
	Environment *bundle.Environment `json:"environment,omitempty"`

	tree    *bundle.Tree
	encoded []byte // the tree
	config  bundle.Descriptor
	self    bundle.Descriptor
}

// inspectedLayer is a layer of a manifest: its descriptor, and what the
// environment says of it.
type inspectedLayer struct {
	bundle.Descriptor
	Name     string  `json:"name"`
	Entries  int     `json:"entries"`
	Unpacked int64   `json:"unpacked"` // bytes of its files
	Share    float64 `json:"share"`    // of the manifest's compressed bytes, 0 to 1
}

func (a *app) newInspectCmd() *cobra.Command {
	var platforms []string
	cmd := &cobra.Command{
		Use:   "inspect REFERENCE",
		Short: "show what an environment or a model is made of",
		Long: "Show what an environment is made of: manifests, layers with their sizes, packages,\n" +
			"decisions, launch profiles and probes of each platform; or what a model is made of.\n" +
			"Of an environment only manifests and the metadata layer are fetched.",
		Example: "  metalpack inspect oci:out:0.32.2\n" +
			"  metalpack inspect oci:out:0.32.2 --platform linux/amd64\n" +
			"  metalpack inspect docker.io/metalpack/vllm-metal:0.30.0 --json",
		Args: exactArgs("REFERENCE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runInspect(cmd.Context(), args[0], platforms) },
	}
	cmd.Flags().StringArrayVar(&platforms, "platform", nil, "`platform` to show, like darwin/arm64; may be repeated (default: all)")
	return cmd
}

func (a *app) runInspect(ctx context.Context, word string, platforms []string) (err error) {
	if err := checkPlatforms(platforms); err != nil {
		return err
	}
	if isPath(word) && exists(filepath.Join(word, "config.json")) {
		return localHint(edge.Usagef("inspect: %s is a directory, not an artifact", word), word)
	}
	src, root, ref, closeSource, err := a.open(ctx, word, "ai")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	out, err := readArtifact(ctx, src, root)
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	out.Reference = ref.String()
	switch {
	case out.Model != nil && len(platforms) > 0:
		return edge.Usagef("inspect: %s is a model, which is the same for all platforms", ref)
	case out.Model != nil:
		return a.Result(out, modelText(out, a.Table))
	}
	if err := out.only(platforms); err != nil {
		return err
	}
	return a.Result(out, indexText(out, a.Table))
}

// only keeps platforms that were asked for; all if none was. One that is not
// there is an error that wraps [bundle.ErrUnsupportedHost].
func (out *inspected) only(wanted []string) error {
	if len(wanted) == 0 {
		return nil
	}
	var have []string
	for _, m := range out.Manifests {
		have = append(have, m.Platform)
	}
	if err := havePlatforms(out.Reference+" has no", wanted, have); err != nil {
		return err
	}
	out.Manifests = slices.DeleteFunc(out.Manifests, func(m inspectedManifest) bool { return !slices.Contains(wanted, m.Platform) })
	return nil
}

// readArtifact reads an environment's index, one of its manifests, or a model.
func readArtifact(ctx context.Context, src bundle.Source, root bundle.Descriptor) (inspected, error) {
	out := inspected{Digest: root.Digest.String()}
	data, err := src.Manifest(ctx, root)
	if err != nil {
		return out, err
	}
	if root.MediaType != bundle.MediaTypeIndex {
		m, err := bundle.ParseManifest(data)
		if err != nil || m.Annotations[bundle.AnnotationTree] == "" {
			out.Model, _, err = model.Read(ctx, src, root)
			return out, err
		}
		return out, out.add(ctx, src, root)
	}
	index, err := bundle.ParseIndex(data)
	if err != nil {
		return out, err
	}
	if len(index.Manifests) == 0 {
		return out, fmt.Errorf("an index without entries: %w", bundle.ErrInvalid)
	}
	for _, d := range index.Manifests {
		if d.MediaType != bundle.MediaTypeManifest {
			return out, fmt.Errorf("index: %s is of type %q, want a manifest: %w", d.Digest, d.MediaType, bundle.ErrInvalid)
		}
		if err := out.add(ctx, src, d); err != nil {
			return out, fmt.Errorf("%s: %w", d.Digest, err)
		}
	}
	out.Size = root.Size + out.blobSize()
	return out, nil
}

// blobSize sums up what a registry holds of the environment.
func (out *inspected) blobSize() (n int64) {
	seen := map[string]bool{}
	add := func(d bundle.Descriptor) {
		if !seen[d.Digest.String()] {
			seen[d.Digest.String()] = true
			n += d.Size
		}
	}
	for _, m := range out.Manifests {
		add(m.self)
		add(m.config)
		for _, l := range m.Layers {
			add(l.Descriptor)
		}
	}
	return n
}

// add reads one manifest, and the metadata layer of the first of each platform.
func (out *inspected) add(ctx context.Context, src bundle.Source, d bundle.Descriptor) error {
	data, err := src.Manifest(ctx, d)
	if err != nil {
		return err
	}
	m, err := bundle.ParseManifest(data)
	if err != nil {
		return err
	}
	row := inspectedManifest{
		Digest: d.Digest.String(), Floor: m.Annotations[bundle.AnnotationFloor], Codec: m.Annotations[bundle.AnnotationCodec],
		TreeDigest: m.Annotations[bundle.AnnotationTree], self: d, config: m.Config,
	}
	if d.Platform != nil {
		row.Platform = d.Platform.OS + "/" + d.Platform.Architecture
	}
	for _, l := range m.Layers {
		row.Size += l.Size
	}
	twin := out.twin(row)
	if twin == nil {
		c, err := unpack.Metadata(ctx, m, func(ctx context.Context, l bundle.Descriptor) (io.ReadCloser, error) { return src.Open(ctx, l, 0) })
		if err != nil {
			return err
		}
		row.Environment, row.tree, row.encoded, row.TreeDigest = c.Environment, c.Tree, c.Files[bundle.TreePath], c.TreeDigest.String()
		row.Files, row.Unpacked = len(row.tree.Entries)+1, row.tree.Size()+int64(len(row.encoded)) // the tree does not list itself
		row.Platform, row.Floor = row.Environment.Platform.String(), row.Environment.Platform.Floor()
		twin = &row
	}
	out.Name, out.Release = twin.Environment.Name, twin.Environment.Release
	row.VersionID = bundle.VersionID(bundle.TreeDigest(twin.encoded))
	row.layers(m, twin)
	out.Manifests = append(out.Manifests, row)
	return nil
}

// twin finds a manifest of the same tree.
func (out *inspected) twin(m inspectedManifest) *inspectedManifest {
	for i := range out.Manifests {
		if t := &out.Manifests[i]; t.Environment != nil && t.TreeDigest == m.TreeDigest && t.Platform == m.Platform {
			return t
		}
	}
	return nil
}

// layers fills in the layers of a manifest, with what the tree of its twin says
// of them.
func (m *inspectedManifest) layers(from *ocispec.Manifest, twin *inspectedManifest) {
	entries, sizes := map[string]int{bundle.MetadataLayer: 1}, map[string]int64{bundle.MetadataLayer: int64(len(twin.encoded))}
	for _, e := range twin.tree.Entries {
		entries[e.Layer]++
		sizes[e.Layer] += e.Size
	}
	for _, l := range from.Layers {
		name := l.Annotations[bundle.AnnotationLayer]
		m.Layers = append(m.Layers, inspectedLayer{
			Descriptor: l, Name: name, Entries: entries[name], Unpacked: sizes[name], Share: float64(l.Size) / float64(max(m.Size, 1)),
		})
	}
}

// environment reads an environment for a verb that wants no model.
func (a *app) environment(ctx context.Context, verb, word string) (out inspected, err error) {
	src, root, ref, closeSource, err := a.open(ctx, word, "")
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	if out, err = readArtifact(ctx, src, root); err != nil {
		return out, fmt.Errorf("%s: %w", ref, err)
	}
	if out.Model != nil {
		return out, edge.WithHint(edge.Errorf(bundle.ErrInvalid, "%s: %s is a model, not an environment", verb, ref), "'metalpack inspect %s' shows what is in it", edge.Quote(strings.TrimPrefix(word, "docker://")))
	}
	out.Reference = ref.String()
	return out, nil
}
