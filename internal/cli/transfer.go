// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/transports"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
)

// deliver copies an artifact to dest, tags it there, and prints what was
// written: the last step of build and push.
func (a *app) deliver(ctx context.Context, src bundle.Source, root bundle.Descriptor, dest bundle.Reference) error {
	w, err := a.place(ctx, src, root, dest)
	if err != nil {
		return err
	}
	return a.result(w, w.Reference+"\n")
}

// place copies an artifact to dest and tags it there.
func (a *app) place(ctx context.Context, src bundle.Source, root bundle.Descriptor, dest bundle.Reference) (w written, err error) {
	dst, commit, abort, err := transports.OpenTarget(ctx, dest, a.remote())
	if err != nil {
		return w, err
	}
	committed := false
	defer func() {
		if !committed {
			err = errors.Join(err, abort())
		}
	}()
	moved := &tally{next: a.events()}
	if err := bundle.Copy(ctx, src, dst, root, bundle.CopyOptions{Events: moved.event}); err != nil {
		return w, err
	}
	if name := dest.Name(); dest.Digest == "" {
		if name == "" {
			name = "latest"
		}
		if err := dst.Tag(ctx, root, name); err != nil {
			return w, err
		}
	}
	if err := commit(ctx); err != nil {
		return w, err
	}
	committed = true
	a.note("%s: %s written, %s were there", dest, ui.Bytes(moved.done.Load()), ui.Bytes(moved.skipped.Load()))
	dest.Digest = root.Digest
	return written{Reference: dest.String(), Digest: root.Digest.String(), MediaType: root.MediaType, Size: root.Size}, nil
}

// tally adds up what was moved and what was not, in bytes.
type tally struct {
	next          bundle.EventFunc
	done, skipped atomic.Int64
}

func (t *tally) event(e bundle.Event) {
	switch e.Kind {
	case bundle.EventDone:
		t.done.Add(e.Size)
	case bundle.EventSkipped:
		t.skipped.Add(e.Size)
	default:
	}
	t.next.Emit(e)
}

// written is the result of every verb that writes an artifact.
type written struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	MediaType string `json:"mediaType"`
	Size      int64  `json:"size"`
}

// open opens the artifact that a source reference names.
func (a *app) open(ctx context.Context, word, namespace string) (bundle.Source, bundle.Descriptor, bundle.Reference, func() error, error) {
	ref, err := parseSource(word, namespace)
	if err != nil {
		return nil, bundle.Descriptor{}, ref, nil, err
	}
	src, closeSource, err := transports.OpenSource(ref, a.remote())
	if err != nil {
		return nil, bundle.Descriptor{}, ref, nil, err
	}
	root, err := src.Resolve(ctx, ref.Name())
	if err != nil {
		if errors.Is(err, bundle.ErrNotFound) && ref.Transport == bundle.TransportDocker {
			err = edge.WithHint(err, "check repository and tag; some registries answer this for what wants a login: docker login %s", ref.Registry)
		}
		return nil, bundle.Descriptor{}, ref, nil, errors.Join(err, closeSource())
	}
	return src, root, ref, closeSource, nil
}

// parseSource reads a reference of the command line.
func parseSource(word, namespace string) (bundle.Reference, error) {
	ref, err := bundle.ParseSource(word, namespace)
	if err == nil {
		return ref, nil
	}
	err = edge.Errorf(edge.ErrUsage, "%w", err)
	if _, serr := os.Stat(filepath.Join(word, "oci-layout")); serr == nil {
		err = edge.WithHint(err, "for the layout in the directory %s write oci:%s", word, word)
	}
	return ref, err
}
