// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/transports"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
)

// deliver copies an artifact to dest, tags it there, and prints what was
// written: the last step of push and of fetch --to.
func (a *app) deliver(ctx context.Context, src bundle.Source, root bundle.Descriptor, dest bundle.Reference) error {
	moved := a.tally()
	out, err := a.transfer(ctx, src, root, dest, moved)
	if err != nil {
		return err
	}
	a.noteMoved(dest, moved)
	return a.Result(out, out.Reference+"\n")
}

func (a *app) noteMoved(dest bundle.Reference, moved *tally) {
	a.Note("%s: %s written, %s were there", dest, ui.Bytes(moved.done.Load()), ui.Bytes(moved.skipped.Load()))
}

// transfer copies an artifact to dest and tags it there.
func (a *app) transfer(ctx context.Context, src bundle.Source, root bundle.Descriptor, dest bundle.Reference, moved *tally) (out written, err error) {
	to := &place{app: a, ref: dest}
	defer func() { err = errors.Join(err, to.Close()) }()
	if out, err = to.put(ctx, src, root, dest, moved); err != nil {
		return out, err
	}
	return out, to.dst.Commit(ctx)
}

// place is where artifacts are written. It is opened when the first byte is to
// go there: what is refused before that leaves nothing behind.
type place struct {
	app *app
	ref bundle.Reference
	dst transports.Destination // nil until it is opened
}

func (p *place) open(ctx context.Context) (err error) {
	if p.dst == nil {
		p.dst, err = transports.OpenTarget(ctx, p.ref, p.app.remote())
	}
	return err
}

// ingester opens the place for files that are hashed on their way.
func (p *place) ingester(ctx context.Context) (bundle.Ingester, error) {
	err := p.open(ctx)
	return p.dst, err
}

// put copies an artifact and gives it the tag of dest, which shows once the
// place is committed.
func (p *place) put(ctx context.Context, src bundle.Source, root bundle.Descriptor, dest bundle.Reference, moved *tally) (out written, err error) {
	if err := p.open(ctx); err != nil {
		return out, err
	}
	p.app.expect(ctx, src, root)
	if err := bundle.Copy(ctx, src, p.dst, root, bundle.CopyOptions{Events: moved.event}); err != nil {
		return out, err
	}
	if err := p.dst.Tag(ctx, root, tagOf(dest)); err != nil {
		return out, err
	}
	dest.Digest = root.Digest
	return written{Reference: dest.String(), Digest: root.Digest.String(), MediaType: root.MediaType, Size: root.Size}, nil
}

// tagOf is the tag that an artifact gets at a destination.
func tagOf(dest bundle.Reference) string { return cmp.Or(dest.Tag, "latest") }

// Close gives up what was not committed.
func (p *place) Close() error {
	if p.dst == nil {
		return nil
	}
	return p.dst.Close()
}

// expect lets a terminal tell how much of a copy is left. Whatever cannot be read
// here the copy itself reports.
func (a *app) expect(ctx context.Context, src bundle.Source, root bundle.Descriptor) {
	if a.Screen().Mode() != ui.Terminal {
		return
	}
	blobs, size := 0, int64(0)
	for todo := []bundle.Descriptor{root}; len(todo) > 0; todo = todo[1:] {
		data, err := src.Manifest(ctx, todo[0])
		if err != nil {
			return
		}
		children, err := bundle.Children(todo[0].MediaType, data)
		if err != nil {
			return
		}
		for _, c := range children {
			if !bundle.IsManifest(c.MediaType) {
				blobs, size = blobs+1, size+c.Size
			} else if todo[0].MediaType == bundle.MediaTypeIndex {
				todo = append(todo, c)
			}
		}
	}
	a.Screen().Expect(blobs, size)
}

// tally adds up what was moved or made and what was there, in items and bytes.
type tally struct {
	next          bundle.EventFunc
	done, skipped atomic.Int64 // bytes
	made, found   atomic.Int64 // items
	sent          sync.Map     // digests of what was moved: a copy that finds it says nothing new
}

func (a *app) tally() *tally { return &tally{next: a.Events()} }

func (t *tally) event(e bundle.Event) {
	switch e.Kind {
	case bundle.EventDone:
		t.done.Add(e.Size)
		t.made.Add(1)
		if e.Digest != "" {
			t.sent.Store(e.Digest, true)
		}
	case bundle.EventSkipped:
		if _, ours := t.sent.Load(e.Digest); ours {
			return
		}
		t.skipped.Add(e.Size)
		t.found.Add(1)
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
	if isHub(word) {
		return nil, bundle.Descriptor{}, bundle.Reference{}, nil, edge.WithHint(edge.Usagef("%q is a model on the Hugging Face hub, not an artifact", word),
			"'metalpack model lint %s' looks at it, 'metalpack pull %s -o DIR' fetches it", word, word)
	}
	ref, err := parseSource(word, namespace)
	if err != nil {
		return nil, bundle.Descriptor{}, ref, nil, err
	}
	src, closeSource, err := transports.OpenSource(ref, a.remote())
	if err != nil {
		return nil, bundle.Descriptor{}, ref, nil, placeHint(err, ref)
	}
	root, err := src.Resolve(ctx, ref.Name())
	if err != nil {
		if ref.Transport == bundle.TransportDocker {
			err = localHint(err, word)
		}
		if ref.Transport == bundle.TransportDocker && !edge.Hinted(err) && errors.Is(err, bundle.ErrNotFound) {
			err = edge.WithHint(err, "check repository and tag; some registries answer this for what wants a login: docker login %s", ref.Registry)
		}
		return nil, bundle.Descriptor{}, ref, nil, errors.Join(err, closeSource())
	}
	return src, root, ref, closeSource, nil
}

// openModel opens the artifact of a model.
func (a *app) openModel(ctx context.Context, word string) (bundle.Source, bundle.Descriptor, bundle.Reference, func() error, error) {
	src, root, ref, closeSource, err := a.open(ctx, word, "ai")
	if err == nil && root.MediaType == bundle.MediaTypeIndex {
		err = edge.WithHint(edge.Errorf(bundle.ErrInvalid, "%s is an environment, not a model", ref),
			"'metalrun install %s' installs it, 'metalpack inspect %s' shows what is in it", edge.Quote(ref.String()), edge.Quote(ref.String()))
		err = errors.Join(err, closeSource())
	}
	return src, root, ref, closeSource, err
}
