// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package transports owns the choice between the places where an artifact can
// lie: it opens what a reference names, by its transport alone. It promises
// nothing beyond what packages remote and layout do.
package transports

import (
	"context"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/layout"
	"github.com/metalpack/metalpack/bundle/remote"
)

// OpenSource opens the place ref names for reading; the caller calls closer.
// Errors: those of [remote.Open] and [layout.Open].
func OpenSource(ref bundle.Reference, o remote.Options) (src bundle.Source, closer func() error, err error) {
	if ref.Transport == bundle.TransportDocker {
		r, err := remote.Open(ref, o)
		if err != nil {
			return nil, nil, err
		}
		return r, func() error { return nil }, nil
	}
	r, err := layout.Open(ref)
	if err != nil {
		return nil, nil, err
	}
	return r, r.Close, nil
}

// Destination is a place that was opened for writing.
type Destination interface {
	bundle.Target
	bundle.Ingester
	// Commit makes visible what was pushed and tagged. Nothing is pushed after it.
	Commit(ctx context.Context) error
	// Close gives up what was not committed. It is called in any case.
	Close() error
}

// OpenTarget opens the place ref names for writing; the caller closes it.
// Errors: those of [remote.Open] and [layout.Create].
func OpenTarget(ctx context.Context, ref bundle.Reference, o remote.Options) (Destination, error) {
	if ref.Transport == bundle.TransportDocker {
		r, err := remote.Open(ref, o)
		if err != nil {
			return nil, err
		}
		return repository{r}, nil
	}
	w, err := layout.Create(ctx, ref)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// repository is a repository of a registry: what arrives there shows at once.
type repository struct{ *remote.Repository }

// Commit implements [Destination].
func (repository) Commit(context.Context) error { return nil }

// Close implements [Destination].
func (repository) Close() error { return nil }
