// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Archive is an artifact that holds inputs as blobs (docs/format.md, section
// 4), opened for reading. The zero Archive holds none.
type Archive struct {
	name   string
	source bundle.Source
	files  map[string]bundle.Descriptor // by sha256
}

// OpenArchive reads the manifest of an archive. Errors are those of the source
// and [bundle.ErrInvalid] for another kind of artifact.
func OpenArchive(ctx context.Context, name string, source bundle.Source, root bundle.Descriptor) (*Archive, error) {
	if root.MediaType != bundle.MediaTypeManifest {
		return nil, fmt.Errorf("%s: not an archive of inputs, but %s: %w", name, root.MediaType, bundle.ErrInvalid)
	}
	data, err := source.Manifest(ctx, root)
	if err != nil {
		return nil, err
	}
	files, err := bundle.ParseInputs(data)
	if err != nil {
		return nil, fmt.Errorf("%s: not an archive of inputs: %w", name, err)
	}
	a := &Archive{name: name, source: source, files: make(map[string]bundle.Descriptor, len(files))}
	for _, f := range files {
		a.files[f.Digest.Encoded()] = f.Descriptor()
	}
	return a, nil
}

// fromArchive streams a file of an archive into the cache, from where an
// earlier attempt stopped.
func (j *job) fromArchive(ctx context.Context, w Want, a *Archive) (bool, error) {
	desc, ok := a.files[w.SHA256]
	if !ok {
		return false, nil
	}
	return j.fill(ctx, w, a.name, func(p *partial) (err error) {
		if p.size > desc.Size {
			if err := p.restart(); err != nil {
				return err
			}
		}
		rc, err := a.source.Open(ctx, desc, p.size)
		if err != nil {
			return &fetchError{host: a.name, err: err}
		}
		defer fsatomic.CloseErr(&err, rc)
		source := &sourceReader{r: bundle.WithProgress(rc, j.at(w, desc.Size, p.size), j.Events)}
		err = p.copy(ctx, source, desc.Size)
		if source.err != nil {
			return &fetchError{host: a.name, err: source.err}
		}
		return err
	})
}

// Package makes an archive of files in the cache: a [bundle.Source] with one
// artifact, Root.
type Package struct {
	cache    *Cache
	manifest []byte
	blobs    map[digest.Digest]bool
}

var _ bundle.Source = (*Package)(nil)

// Pack makes the archive of wants that were fetched. Two files of one name with
// different bytes are an error that wraps [bundle.ErrInvalid].
func Pack(cache *Cache, wants []Want) (*Package, error) {
	p := &Package{cache: cache, blobs: make(map[digest.Digest]bool)}
	var files []bundle.InputFile
	wants = slices.Clone(wants) // one blob may be wanted under two names: the first counts
	slices.SortStableFunc(wants, func(a, b Want) int { return strings.Compare(a.File, b.File) })
	for _, w := range wants {
		d := digest.NewDigestFromEncoded(digest.SHA256, w.SHA256)
		if p.blobs[d] {
			continue
		}
		info, err := os.Stat(cache.Path(w.SHA256))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.label(), err)
		}
		p.blobs[d] = true
		files = append(files, bundle.InputFile{Name: w.File, Digest: d, Size: info.Size()})
	}
	var err error
	p.manifest, err = bundle.EncodeInputs(files)
	return p, err
}

// Root describes the manifest.
func (p *Package) Root() bundle.Descriptor {
	return bundle.DescriptorOf(bundle.MediaTypeManifest, p.manifest)
}

// Resolve implements [bundle.Source]: every name stands for the one artifact.
func (p *Package) Resolve(context.Context, string) (bundle.Descriptor, error) { return p.Root(), nil }

// Manifest implements [bundle.Source]. Errors: [bundle.ErrNotFound].
func (p *Package) Manifest(_ context.Context, desc bundle.Descriptor) ([]byte, error) {
	if desc.Digest != p.Root().Digest {
		return nil, fmt.Errorf("manifest %s: %w", desc.Digest, bundle.ErrNotFound)
	}
	return p.manifest, nil
}

// Open implements [bundle.Source]. Errors: [bundle.ErrNotFound], those of the
// file system.
func (p *Package) Open(_ context.Context, desc bundle.Descriptor, offset int64) (io.ReadCloser, error) {
	var r interface {
		io.ReadSeeker
		io.Closer
	}
	switch {
	case p.blobs[desc.Digest]:
		f, err := os.Open(p.cache.Path(desc.Digest.Encoded()))
		if err != nil {
			return nil, err
		}
		r = f
	case desc.Digest == digest.FromString(bundle.EmptyConfig):
		r = emptyConfig{strings.NewReader(bundle.EmptyConfig)}
	default:
		return nil, fmt.Errorf("%s: %w", bundle.Label(desc), bundle.ErrNotFound)
	}
	if _, err := r.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Referrers implements [bundle.Source]: there are none.
func (p *Package) Referrers(context.Context, bundle.Descriptor) ([]bundle.Descriptor, error) {
	return nil, nil
}

type emptyConfig struct{ *strings.Reader }

// Close implements io.Closer.
func (emptyConfig) Close() error { return nil }
