// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// Origin is where the files of a model come from: a directory ([Dir]), a
// repository of a hub or its cache (package hub), an artifact that was pushed before ([Stored]).
// Implementations are safe for concurrent use.
type Origin interface {
	// List says what files there are. It moves no content.
	List(ctx context.Context) (*Listing, error)
	// Open streams a file of the listing from byte offset on. A header is
	// read from its beginning and closed early, so nothing should be fetched
	// far ahead of its reader.
	Open(ctx context.Context, path string, offset int64) (io.ReadCloser, error)
}

// Listing is the files of an origin, in any order, and what it knows of them.
type Listing struct {
	Name  string // of the origin, in messages
	Facts Facts  // what the origin itself knows; the model card may add to it
	Files []OriginFile
}

// OriginFile is one file of an origin.
type OriginFile struct {
	Path   string
	Size   int64       // bytes
	SHA256 string      // 64 hex digits; "" = not known before it is read
	Type   fs.FileMode // type bits of what is no regular file, such as a link that is not followed; or [TypePointer]
}

// TypePointer is a file that stands for another, which a clone without Git LFS
// does not have.
const TypePointer = fs.ModeIrregular

// digestOf checks what an origin says of a file before it is believed.
func (f OriginFile) digestOf() (digest.Digest, error) {
	if f.Size < 0 {
		return "", invalid("%q: size %d", clip(f.Path), f.Size)
	}
	if f.SHA256 == "" {
		return "", nil
	}
	d := digest.NewDigestFromEncoded(digest.SHA256, f.SHA256)
	if err := d.Validate(); err != nil {
		return "", invalid("%q: sha256 %q", clip(f.Path), clip(f.SHA256))
	}
	return d, nil
}

// stored is a model artifact as an origin: every digest is known.
type stored struct {
	src   bundle.Source
	model *Model
}

// Stored is the origin of the files of a model that [Read] found in src: to
// lint it, or to write it in another format.
func Stored(src bundle.Source, m *Model) Origin { return stored{src, m} }

// List implements [Origin]. Files in archive layers have no digest of their
// own, so a model with such layers is refused: [bundle.ErrInvalid].
func (s stored) List(context.Context) (*Listing, error) {
	if len(s.model.Archives) > 0 {
		return nil, invalid("%s: %d layers are archives; pull it into a directory first", s.model.Root.Digest, len(s.model.Archives))
	}
	l := &Listing{Name: s.model.Root.Digest.String(), Facts: s.model.tamed()}
	for _, f := range s.model.Files {
		l.Files = append(l.Files, OriginFile{Path: f.Path, Size: f.Descriptor.Size, SHA256: f.Descriptor.Digest.Encoded()})
	}
	return l, nil
}

// Open implements [Origin].
func (s stored) Open(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	for _, f := range s.model.Files {
		if f.Path == path {
			return s.src.Open(ctx, f.Descriptor, offset)
		}
	}
	return nil, fmt.Errorf("model %s: %q: %w", s.model.Root.Digest, path, bundle.ErrNotFound)
}

// headGuard refuses a file whose beginning is not what the model was described
// from: the header was read before, when the file may have been another.
type headGuard struct {
	io.ReadCloser
	file *file
	left int64
	seen digest.Digester
}

func guardHead(rc io.ReadCloser, f *file) io.ReadCloser {
	if f.headSize == 0 {
		return rc
	}
	return &headGuard{ReadCloser: rc, file: f, left: f.headSize, seen: digest.SHA256.Digester()}
}

// Read implements io.Reader.
func (g *headGuard) Read(p []byte) (int, error) {
	n, err := g.ReadCloser.Read(p)
	if k := min(int64(n), g.left); k > 0 {
		_, _ = g.seen.Hash().Write(p[:k]) // a hash takes everything
		if g.left -= k; g.left == 0 && g.seen.Digest() != g.file.head {
			return 0, changed(g.file)
		}
	}
	return n, err
}
