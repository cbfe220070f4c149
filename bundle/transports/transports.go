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

// OpenTarget opens the place ref names for writing. The caller calls exactly
// one of finish, which makes visible what was pushed and tagged, and abort.
// After an error of finish abort is called too. Errors: those of
// [remote.Open] and [layout.Create].
func OpenTarget(ctx context.Context, ref bundle.Reference, o remote.Options) (dst bundle.Target, finish func(context.Context) error, abort func() error, err error) {
	if ref.Transport == bundle.TransportDocker {
		r, err := remote.Open(ref, o)
		if err != nil {
			return nil, nil, nil, err
		}
		return r, func(context.Context) error { return nil }, func() error { return nil }, nil
	}
	w, err := layout.Create(ctx, ref)
	if err != nil {
		return nil, nil, nil, err
	}
	finish = func(ctx context.Context) error {
		if err := w.Commit(ctx); err != nil {
			return err
		}
		return w.Close()
	}
	return w, finish, w.Close, nil
}
