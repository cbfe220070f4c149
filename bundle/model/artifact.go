// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Options says what of a directory becomes a model. The zero value takes all
// but hidden files.
type Options struct {
	Exclude []string         // doublestar patterns against the path or its last component
	Allow   []string         // lint rules that may be broken; recorded in the artifact
	Events  bundle.EventFunc // progress and lint warnings; nil = none
}

// Artifact is a model built from a directory. It is a bundle.Source; weights
// stay on disk until they are opened.
type Artifact struct {
	model    *Model
	metadata Metadata
	manifest []byte
	config   []byte
	files    map[digest.Digest]*file
}

// Lint reports what is wrong with the model in a directory, errors and
// warnings. The error is that of reading it, or [bundle.ErrInvalid] for an
// option that makes no sense.
func Lint(ctx context.Context, dir string, o Options) ([]Finding, error) {
	s, err := newScan(dir, o)
	if err != nil {
		return nil, err
	}
	var twins []*file // only files of one size can be equal
	count := map[int64]int{}
	for _, f := range s.files {
		count[f.size]++
	}
	for _, f := range s.files {
		if count[f.size] > 1 {
			twins = append(twins, f)
		}
	}
	if err := s.hash(ctx, twins); err != nil {
		return nil, err
	}
	s.lintEqual()
	return s.findings, nil
}

// FromDir builds the artifact of the model in a directory: it lints, reads the
// safetensors headers and config.json, and hashes every file. Lint warnings
// are events. Errors: [*LintError], [bundle.ErrInvalid], [bundle.ErrNotFound]
// if there is no such directory.
func FromDir(ctx context.Context, dir string, o Options) (*Artifact, error) {
	s, err := newScan(dir, o)
	if err != nil {
		return nil, err
	}
	if err := s.refuse(); err != nil { // before hours of hashing
		return nil, err
	}
	if err := s.hash(ctx, s.files); err != nil {
		return nil, err
	}
	s.lintEqual()
	if err := s.refuse(); err != nil {
		return nil, err
	}
	for _, f := range s.findings {
		o.Events.Emit(bundle.Event{Kind: bundle.EventNote, What: "lint", Reason: "warning: " + f.String()})
	}
	return s.encode()
}

// refuse returns the errors among the findings as one.
func (s *scan) refuse() error {
	e := &LintError{Dir: s.dir}
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

// hash fills in the digests of files, several at once.
func (s *scan) hash(ctx context.Context, files []*file) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(goruntime.GOMAXPROCS(0))
	for _, f := range files {
		g.Go(func() (err error) {
			in, err := os.Open(f.disk)
			if err != nil {
				return err
			}
			defer fsatomic.CloseErr(&err, in)
			e := bundle.Event{Kind: bundle.EventStarted, What: "hash " + f.path, Size: f.size}
			s.events.Emit(e)
			d := digest.SHA256.Digester()
			n, err := io.Copy(d.Hash(), ctxio.Reader(ctx, bundle.WithProgress(in, e, s.events)))
			if err != nil {
				return fmt.Errorf("%s: %w", f.path, err)
			}
			if n != f.size {
				return changed(f)
			}
			f.digest = d.Digest()
			e.Kind, e.Offset, e.Digest = bundle.EventDone, n, f.digest.String()
			s.events.Emit(e)
			return nil
		})
	}
	return g.Wait()
}

func changed(f *file) error {
	return fmt.Errorf("%s: changed while it was read: %w", f.disk, bundle.ErrMismatch)
}

// encode makes manifest and config of a scanned and hashed directory.
func (s *scan) encode() (*Artifact, error) {
	slices.SortFunc(s.files, func(a, b *file) int { return cmp.Compare(a.path, b.path) })
	var weightSize int64
	for _, f := range s.files {
		if f.kind == KindWeight {
			weightSize += f.size
		}
	}
	md := describe(s.config, s.headers, weightSize)
	m := &Model{
		Flavor: FlavorModelPack, Format: md.Format, Architecture: md.Architecture, Parameters: FormatCount(md.Parameters),
		Quantization: md.Quantization.String(), Context: md.Context,
	}
	a := &Artifact{model: m, metadata: md, files: map[digest.Digest]*file{}}
	for _, f := range s.files {
		m.Files = append(m.Files, File{Path: f.path, Kind: f.kind, Descriptor: bundle.Descriptor{
			MediaType: layerType(f.kind), Digest: f.digest, Size: f.size,
			Annotations: map[string]string{bundle.AnnotationFilepath: f.path, bundle.AnnotationTitle: f.path},
		}})
		a.files[f.digest] = f
	}
	var err error
	if a.config, err = encodeConfig(m, md); err != nil {
		return nil, err
	}
	a.manifest, err = encodeManifest(m, md, bundle.DescriptorOf(ConfigTypeModelPack, a.config), s.allow)
	m.Root = bundle.DescriptorOf(bundle.MediaTypeManifest, a.manifest)
	m.Root.ArtifactType = ArtifactTypeModelPack
	return a, err
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

// Open implements bundle.Source. A file whose size has changed since it was
// hashed is refused with [bundle.ErrMismatch]; other changes show when the
// bytes are verified.
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
	in, err := os.Open(f.disk)
	if err != nil {
		return nil, err
	}
	info, err := in.Stat()
	if err == nil && info.Size() != f.size {
		err = changed(f)
	}
	if err == nil {
		_, err = in.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, closeAfter(err, in)
	}
	return in, nil
}

func closeAfter(err error, c io.Closer) error {
	fsatomic.CloseErr(&err, c)
	return err
}

// Referrers implements bundle.Source; a built model has none.
func (a *Artifact) Referrers(context.Context, bundle.Descriptor) ([]bundle.Descriptor, error) {
	return nil, nil
}
