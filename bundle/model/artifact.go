// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// Options says what of an origin becomes a model, and of which form. The zero
// value takes all but hidden files and writes ModelPack.
type Options struct {
	Flavor  Flavor           // FlavorModelPack or FlavorDocker; "" = FlavorModelPack
	Exclude []string         // doublestar patterns against the path, a directory of it, or its last component
	Allow   []string         // lint rules that may be broken; recorded in the artifact
	Facts   Facts            // go before what the origin and the model card say
	Events  bundle.EventFunc // progress and lint warnings; nil = none
	Into    *Into            // where [Build] may send files while it hashes them; nil = nowhere
}

// Artifact is a model built from an origin. It is a bundle.Source; weights
// stay where they are until they are opened.
type Artifact struct {
	model    *Model
	metadata Metadata
	scan     *scan
	manifest []byte
	config   []byte
	files    map[digest.Digest]*file
}

// Build makes the artifact of the model at an origin: it lints, reads the
// safetensors headers and the small files that say what the model is, and
// hashes the files whose digest is not known, sending them meanwhile if it was
// told where to. Nothing is sent before the lint has passed whole. Lint
// warnings are events. Errors: those of the origin and of the place, [*LintError],
// [bundle.ErrInvalid] for an option that makes no sense, [bundle.ErrMismatch]
// for a file that changes meanwhile.
func Build(ctx context.Context, origin Origin, o Options) (*Artifact, error) {
	s, err := newScan(ctx, origin, o)
	if err != nil {
		return nil, err
	}
	s.lintEqual()
	if err := s.refuse(); err != nil { // before hours of hashing
		return nil, err
	}
	if err := s.hash(ctx, s.twins()); err != nil {
		return nil, err
	}
	s.lintEqual()
	if err := s.refuse(); err != nil {
		return nil, err
	}
	if o.Into != nil {
		if err := s.ingest(ctx, o.Into); err != nil {
			return nil, err
		}
	}
	if err := s.hash(ctx, s.files); err != nil {
		return nil, err
	}
	for _, f := range Brief(s.findings) {
		o.Events.Emit(bundle.Event{Kind: bundle.EventNote, What: "lint", Reason: "warning: " + f.String()})
	}
	return s.encode(o.Flavor)
}

// refuse returns the errors among the findings as one.
func (s *scan) refuse() error {
	e := &LintError{Name: s.name}
	for _, f := range s.findings {
		if f.Severity == SeverityError {
			e.Findings = append(e.Findings, f)
		}
	}
	if len(e.Findings) == 0 {
		return nil
	}
	return e
}

// open opens a file of the origin. From its beginning on it must be the one
// that the model was described from.
func (s *scan) open(ctx context.Context, f *file, offset int64) (io.ReadCloser, error) {
	in, err := s.origin.Open(ctx, f.path, offset)
	if err != nil || offset > 0 {
		return in, err
	}
	if disk, ok := in.(*diskFile); ok && f.digest != "" {
		return knownFile{disk}, nil // nothing has changed since the header was read
	}
	return guardHead(in, f), nil
}

// encode makes manifest and config of a scanned and hashed origin.
func (s *scan) encode(flavor Flavor) (*Artifact, error) {
	var weightSize int64
	for _, f := range s.files {
		if f.kind == KindWeight {
			weightSize += f.size
		}
	}
	md := describe(s.config, s.headers, weightSize)
	md.ToolParser, md.ReasoningParser = parsers(s.template)
	m := &Model{
		Flavor: FlavorModelPack, Format: md.Format, Architecture: md.Architecture, Parameters: FormatCount(md.Parameters),
		Quantization: md.Quantization.String(), Context: md.Context, Facts: s.facts,
		ToolParser: md.ToolParser, ReasoningParser: md.ReasoningParser, Allow: sortedRules(s.allow),
	}
	a := &Artifact{model: m, metadata: md, scan: s, files: map[digest.Digest]*file{}}
	for _, f := range s.files {
		a.files[f.digest] = f
	}
	return a.In(flavor)
}

// In returns the same model in the other format, over the same blobs: nothing
// is read again. Flavors are those of [Options]; another is
// [bundle.ErrInvalid].
func (a *Artifact) In(flavor Flavor) (*Artifact, error) {
	if flavor == "" {
		flavor = FlavorModelPack
	}
	if flavor != FlavorModelPack && flavor != FlavorDocker {
		return nil, invalid("model format %q: want %s or %s", flavor, FlavorModelPack, FlavorDocker)
	}
	m := *a.model
	m.Flavor, m.Files = flavor, nil
	for _, f := range a.scan.files {
		m.Files = append(m.Files, File{Path: f.path, Kind: f.kind, Descriptor: bundle.Descriptor{
			MediaType: layerType(flavor, f), Digest: f.digest, Size: f.size,
			Annotations: map[string]string{bundle.AnnotationFilepath: f.path, bundle.AnnotationTitle: f.path},
		}})
	}
	out := &Artifact{model: &m, metadata: a.metadata, scan: a.scan, files: a.files}
	if err := out.write(); err != nil {
		return nil, err
	}
	return out, nil
}

// Root describes the manifest.
func (a *Artifact) Root() bundle.Descriptor { return a.model.Root }

// Model describes what was built.
func (a *Artifact) Model() *Model { return a.model }

// Metadata is what the files state, exactly.
func (a *Artifact) Metadata() Metadata { return a.metadata }

// Resolve implements bundle.Source: "", "latest" and its digest name the one
// manifest.
func (a *Artifact) Resolve(_ context.Context, name string) (bundle.Descriptor, error) {
	if name == "" || name == "latest" || name == a.Root().Digest.String() {
		return a.Root(), nil
	}
	return bundle.Descriptor{}, fmt.Errorf("model artifact: %q: %w", name, bundle.ErrNotFound)
}

// Manifest implements bundle.Source.
func (a *Artifact) Manifest(_ context.Context, desc bundle.Descriptor) ([]byte, error) {
	if desc.Digest != a.Root().Digest {
		return nil, fmt.Errorf("model artifact: manifest %s: %w", desc.Digest, bundle.ErrNotFound)
	}
	return slices.Clone(a.manifest), nil
}

// Open implements bundle.Source. A file that was changed in the meantime is
// found out when the bytes are verified, or while its header is read again:
// [bundle.ErrMismatch].
func (a *Artifact) Open(ctx context.Context, desc bundle.Descriptor, offset int64) (io.ReadCloser, error) {
	if desc.Digest == digest.FromBytes(a.config) {
		if offset < 0 || offset > int64(len(a.config)) {
			return nil, invalid("offset %d", offset)
		}
		return bundle.BytesOpener(a.config[offset:])(ctx)
	}
	f, ok := a.files[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("model artifact: blob %s: %w", desc.Digest, bundle.ErrNotFound)
	}
	return a.scan.open(ctx, f, offset)
}

// Referrers implements bundle.Source; a built model has none.
func (a *Artifact) Referrers(context.Context, bundle.Descriptor) ([]bundle.Descriptor, error) {
	return nil, nil
}
