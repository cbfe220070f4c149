// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/unpack"
)

// artifact is what is to be installed, as far as it is known before a layer
// but the metadata layer is fetched.
type artifact struct {
	src      bundle.Source
	root     bundle.Descriptor // what the name resolved to
	desc     bundle.Descriptor // of this platform's manifest
	manifest *ocispec.Manifest
	layers   map[string]bundle.Descriptor // by name
	env      *bundle.Environment
	tree     *bundle.Tree
	id       string
	metadata map[string][]byte // files of the metadata layer
	fetched  atomic.Int64      // bytes of blobs read
}

// ErrNotEnvironment says that the artifact is something else, perhaps a model.
var ErrNotEnvironment = unpack.ErrNotEnvironment

// resolve finds the manifest for host and reads the metadata layer.
func resolve(ctx context.Context, src bundle.Source, name string, o InstallOptions) (*artifact, error) {
	root, err := src.Resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	a := &artifact{src: src, root: root, desc: root, layers: map[string]bundle.Descriptor{}}
	data, err := src.Manifest(ctx, root)
	if err != nil {
		return nil, err
	}
	if root.MediaType == bundle.MediaTypeIndex {
		x, err := bundle.ParseIndex(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", root.Digest, err)
		}
		if a.desc, err = bundle.SelectManifest(x, o.Host); err != nil {
			return nil, err
		}
		if data, err = src.Manifest(ctx, a.desc); err != nil {
			return nil, err
		}
	}
	if a.manifest, err = bundle.ParseManifest(data); err != nil {
		return nil, fmt.Errorf("%s: %w", a.desc.Digest, err)
	}
	if err := a.readMetadata(ctx, o); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", a.desc.Digest, err)
	}
	for _, l := range a.manifest.Layers {
		layer := l.Annotations[bundle.AnnotationLayer]
		if _, twice := a.layers[layer]; layer == "" || twice {
			return nil, fmt.Errorf("manifest %s: layer %q twice or without a name: %w", a.desc.Digest, layer, bundle.ErrInvalid)
		}
		a.layers[layer] = l
	}
	// A manifest that was named by its digest comes without an index that
	// says what it runs on; environment.json always does.
	return a, a.env.Platform.Runs(o.Host)
}

// readMetadata fetches the metadata layer.
func (a *artifact) readMetadata(ctx context.Context, o InstallOptions) error {
	c, err := unpack.Metadata(ctx, a.manifest, func(ctx context.Context, desc bundle.Descriptor) (io.ReadCloser, error) {
		return a.open(ctx, desc, o.Events)
	})
	if err != nil {
		return err
	}
	a.env, a.tree, a.metadata, a.id = c.Environment, c.Tree, c.Files, bundle.VersionID(c.TreeDigest)
	if _, ok := a.tree.Find(interpreter); !ok {
		return fmt.Errorf("tree: no %s: %w", interpreter, bundle.ErrInvalid)
	}
	if _, ok := a.tree.Find(markerPath); ok {
		return fmt.Errorf("tree: it lists %s: %w", markerPath, bundle.ErrInvalid)
	}
	desc := c.Layer
	o.Events.Emit(bundle.Event{Kind: bundle.EventDone, What: bundle.Label(desc), Digest: desc.Digest.String(), Offset: desc.Size, Size: desc.Size})
	return nil
}

// open opens a blob and counts and reports what is read of it.
func (a *artifact) open(ctx context.Context, desc bundle.Descriptor, events bundle.EventFunc) (io.ReadCloser, error) {
	e := bundle.Event{Kind: bundle.EventStarted, What: bundle.Label(desc), Digest: desc.Digest.String(), Size: desc.Size}
	events.Emit(e)
	rc, err := a.src.Open(ctx, desc, 0)
	if err != nil {
		return nil, err
	}
	return &countingReader{bundle.WithProgress(rc, e, events), &a.fetched}, nil
}

type countingReader struct {
	io.ReadCloser
	n *atomic.Int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.n.Add(int64(n))
	return n, err
}
