// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
)

// Artifact is an assembled environment: one image index over the variants. It
// implements [bundle.Source]; manifests and configs are in memory, layers in the
// cache.
type Artifact struct {
	root  bundle.Descriptor
	docs  map[digest.Digest]document
	blobs map[digest.Digest]blob
}

// document is a manifest, an index or a config.
type document struct {
	desc bundle.Descriptor
	data []byte
}

var _ bundle.Source = (*Artifact)(nil)

// Assemble makes the index over variants of one environment and release, by
// platform and then by floor, the lowest first; of each its gzip manifest and
// then its zstd twin. The error wraps [bundle.ErrInvalid] when the variants do
// not belong together.
func Assemble(variants []*Variant) (*Artifact, error) {
	if len(variants) == 0 {
		return nil, fmt.Errorf("no variant to assemble: %w", bundle.ErrInvalid)
	}
	sorted := slices.Clone(variants)
	slices.SortFunc(sorted, compareVariants)
	a := &Artifact{docs: map[digest.Digest]document{}, blobs: map[digest.Digest]blob{}}
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: bundle.MediaTypeIndex,
		Annotations: map[string]string{
			bundle.AnnotationName:     sorted[0].Name,
			ocispec.AnnotationVersion: sorted[0].Release,
		},
	}
	for i, v := range sorted {
		if v.Name != sorted[0].Name || v.Release != sorted[0].Release {
			return nil, fmt.Errorf("variants of %s %s and %s %s: %w", sorted[0].Name, sorted[0].Release, v.Name, v.Release, bundle.ErrInvalid)
		}
		if i > 0 && compareVariants(sorted[i-1], v) == 0 {
			return nil, fmt.Errorf("two variants for %s (%s): %w", v.Platform, v.Platform.Floor(), bundle.ErrInvalid)
		}
		entries, err := a.addVariant(v)
		if err != nil {
			return nil, err
		}
		index.Manifests = append(index.Manifests, entries...)
	}
	root, err := a.addDocument(bundle.MediaTypeIndex, index)
	if err != nil {
		return nil, err
	}
	if len(index.Manifests) > bundle.MaxIndexEntries {
		return nil, fmt.Errorf("index of %d entries, more than %d: %w", len(index.Manifests), bundle.MaxIndexEntries, bundle.ErrInvalid)
	}
	a.root = root
	return a, nil
}

func compareVariants(a, b *Variant) int {
	return cmp.Or(cmp.Compare(a.Platform.String(), b.Platform.String()), compareFloors(a.Platform.MacOS+a.Platform.Glibc, b.Platform.MacOS+b.Platform.Glibc))
}

// compareFloors compares dotted numbers.
func compareFloors(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		m, errX := strconv.Atoi(x)
		n, errY := strconv.Atoi(y)
		if errX != nil || errY != nil {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(m, n)
	})
}

// addVariant adds the manifests of a variant and returns their index entries.
func (a *Artifact) addVariant(v *Variant) (entries []bundle.Descriptor, err error) {
	platform := ocispec.Platform{Architecture: v.Platform.Arch, OS: v.Platform.OS, OSVersion: v.Platform.MacOS}
	image := ocispec.Image{Platform: platform, RootFS: ocispec.RootFS{Type: "layers"}}
	for _, l := range v.layers {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, l.diffID)
	}
	config, err := a.addDocument(bundle.MediaTypeConfig, image)
	if err != nil {
		return nil, err
	}
	for i, c := range v.codecs {
		notes := map[string]string{
			bundle.AnnotationTree:     v.TreeDigest.String(),
			bundle.AnnotationName:     v.Name,
			bundle.AnnotationCodec:    c.label,
			ocispec.AnnotationVersion: v.Release,
		}
		if floor := v.Platform.Floor(); floor != "" {
			notes[bundle.AnnotationFloor] = floor
		}
		m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: bundle.MediaTypeManifest, Config: config, Annotations: notes}
		for _, l := range v.layers {
			d := l.blobs[i].desc
			a.blobs[d.Digest] = l.blobs[i]
			d.Annotations = map[string]string{bundle.AnnotationLayer: l.name}
			m.Layers = append(m.Layers, d)
		}
		entry, err := a.addDocument(bundle.MediaTypeManifest, m)
		if err != nil {
			return nil, err
		}
		entry.Platform = &platform
		entry.Annotations = entryNotes(notes, c)
		entries = append(entries, entry)
	}
	return entries, nil
}

// entryNotes returns the annotations of an index entry: what a reader wants to
// know before it fetches the manifest.
func entryNotes(manifest map[string]string, c codec) map[string]string {
	notes := map[string]string{}
	for _, key := range []string{bundle.AnnotationTree, bundle.AnnotationFloor, bundle.AnnotationCodec} {
		if manifest[key] != "" {
			notes[key] = manifest[key]
		}
	}
	if c.mediaType == bundle.MediaTypeLayerZstd {
		notes[bundle.AnnotationZstd] = "true"
	}
	return notes
}

// addDocument encodes v, which decides every byte: keys in struct order, maps
// sorted, no blanks.
func (a *Artifact) addDocument(mediaType string, v any) (bundle.Descriptor, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return bundle.Descriptor{}, err
	}
	data := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	desc := bundle.DescriptorOf(mediaType, data)
	a.docs[desc.Digest] = document{desc, data}
	return desc, nil
}

// Root describes the index.
func (a *Artifact) Root() bundle.Descriptor { return a.root }

// Resolve implements [bundle.Source]. The artifact has no tags: name is "" for
// the index, or the digest of the index or a manifest.
func (a *Artifact) Resolve(_ context.Context, name string) (bundle.Descriptor, error) {
	if name == "" {
		return a.root, nil
	}
	if doc, ok := a.docs[digest.Digest(name)]; ok && bundle.IsManifest(doc.desc.MediaType) {
		return doc.desc, nil
	}
	return bundle.Descriptor{}, fmt.Errorf("build result: %s: %w", name, bundle.ErrNotFound)
}

// Manifest implements [bundle.Source].
func (a *Artifact) Manifest(_ context.Context, desc bundle.Descriptor) ([]byte, error) {
	doc, ok := a.docs[desc.Digest]
	if !ok || !bundle.IsManifest(doc.desc.MediaType) {
		return nil, fmt.Errorf("build result: manifest %s: %w", desc.Digest, bundle.ErrNotFound)
	}
	if desc.Size != doc.desc.Size {
		return nil, fmt.Errorf("build result: manifest %s: %d bytes, want %d: %w", desc.Digest, doc.desc.Size, desc.Size, bundle.ErrMismatch)
	}
	return bytes.Clone(doc.data), nil
}

// Open implements [bundle.Source]. A layer that is read whole is verified; the
// stream ends with a [*DamagedError] if it is not what the build wrote.
func (a *Artifact) Open(_ context.Context, desc bundle.Descriptor, offset int64) (io.ReadCloser, error) {
	if doc, ok := a.docs[desc.Digest]; ok {
		r := bytes.NewReader(doc.data)
		if _, err := r.Seek(offset, io.SeekStart); err != nil {
			return nil, err
		}
		return io.NopCloser(r), nil
	}
	b, ok := a.blobs[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("build result: blob %s: %w", desc.Digest, bundle.ErrNotFound)
	}
	return b.open(offset)
}

// Referrers implements [bundle.Source]: a build result has none.
func (a *Artifact) Referrers(context.Context, bundle.Descriptor) ([]bundle.Descriptor, error) {
	return nil, nil
}
