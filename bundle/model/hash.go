// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"errors"
	"io"
	goruntime "runtime"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Into is the place that a model is going to. What [Build] sends there is read
// once, to hash and to send it, and bundle.Copy finds it there.
type Into struct {
	Open   func(ctx context.Context) (bundle.Ingester, error) // asked once there is something to send
	Tag    string                                             // the name that the model will get
	Events bundle.EventFunc                                   // of what is sent; nil = none
}

// catalog is what such a place can also be: a repository that cannot tell by
// itself what it probably has, but what its tags name.
type catalog interface {
	// Resolve and Manifest are those of [bundle.Source].
	Resolve(ctx context.Context, name string) (bundle.Descriptor, error)
	Manifest(ctx context.Context, desc bundle.Descriptor) ([]byte, error)
	// Tags lists the names of what is there, the newest last as far as names
	// tell.
	Tags(ctx context.Context) ([]string, error)
}

// maxKin is how many tags of a repository are looked at for files of the model.
const maxKin = 8

// settler is what an origin can also be: told the digest of a file that it has
// just been read from end to end, it says whether the file was changed
// meanwhile, and may remember. The error wraps [bundle.ErrMismatch].
type settler interface {
	settle(path string, sum digest.Digest) error
}

// settle notes the digest of a file that has just been read whole.
func (s *scan) settle(f *file, sum digest.Digest) error {
	if o, ok := s.origin.(settler); ok {
		if err := o.settle(f.path, sum); err != nil {
			return err
		}
	}
	f.digest = sum
	return nil
}

// twins returns the files that may be equal to another one.
func (s *scan) twins() []*file {
	var out []*file
	for _, f := range s.files {
		if slices.ContainsFunc(s.files, func(other *file) bool { return other != f && f.mayEqual(other) }) {
			out = append(out, f)
		}
	}
	return out
}

// mayEqual reports whether two files can have one content as far as is known:
// their sizes are equal, and where both have a safetensors header, so is that.
func (f *file) mayEqual(other *file) bool {
	return f.size == other.size && (f.headSize == 0 || other.headSize == 0 || f.head == other.head)
}

// hash fills in the digests of files that have none, several at once.
func (s *scan) hash(ctx context.Context, files []*file) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(goruntime.GOMAXPROCS(0))
	for _, f := range files {
		if f.digest == "" {
			g.Go(func() error { return s.hashFile(ctx, f) })
		}
	}
	return g.Wait()
}

func (s *scan) hashFile(ctx context.Context, f *file) (err error) {
	in, err := s.open(ctx, f, 0)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, in)
	e := bundle.Event{Kind: bundle.EventStarted, What: "hash " + f.path, Size: f.size}
	s.events.Emit(e)
	seen := bundle.NewDigester(ctxio.Reader(ctx, bundle.WithProgress(in, e, s.events)), f.size)
	if err := seen.Finish(); err != nil {
		return f.named(err)
	}
	if err := s.settle(f, seen.Digest()); err != nil {
		return err
	}
	e.Kind, e.Offset, e.Digest = bundle.EventDone, f.size, f.digest.String()
	s.events.Emit(e)
	return nil
}

// ingest sends the files whose digest is not known to where the model is
// going, unless a file as large is there already: then it is probably that one,
// which is cheaper to hash than to send. Files that the place does not take so
// keep no digest.
func (s *scan) ingest(ctx context.Context, into *Into) error {
	todo := slices.DeleteFunc(slices.Clone(s.files), func(f *file) bool { return f.digest != "" })
	if len(todo) == 0 {
		return nil
	}
	place, err := into.Open(ctx)
	if err != nil {
		return err
	}
	there := map[int64]bool{}
	if c, ok := place.(catalog); ok {
		there = sizes(ctx, c, into.Tag)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(bundle.DefaultParallel)
	for _, f := range todo {
		if !there[f.size] {
			g.Go(func() error { return s.ingestFile(ctx, f, place, into.Events) })
		}
	}
	return g.Wait()
}

// sizes are those of the files that the tag names now, or, if there is none
// yet, the last tags beside it. Whatever cannot be read is nothing: the copy will
// say what is wrong.
func sizes(ctx context.Context, c catalog, tag string) map[int64]bool {
	sizes := map[int64]bool{}
	if addSizes(ctx, c, tag, sizes) {
		return sizes
	}
	tags, err := c.Tags(ctx)
	if err != nil {
		return nil
	}
	for _, tag := range tags[max(0, len(tags)-maxKin):] {
		addSizes(ctx, c, tag, sizes)
	}
	return sizes
}

// addSizes adds those of one tag, and reports whether it could.
func addSizes(ctx context.Context, c catalog, tag string, sizes map[int64]bool) bool {
	desc, err := c.Resolve(ctx, tag)
	if err != nil {
		return false
	}
	data, err := c.Manifest(ctx, desc)
	if err != nil {
		return false
	}
	children, err := bundle.Children(desc.MediaType, data)
	for _, c := range children {
		sizes[c.Size] = true
	}
	return err == nil
}

func (s *scan) ingestFile(ctx context.Context, f *file, place bundle.Ingester, events bundle.EventFunc) error {
	e := bundle.Event{Kind: bundle.EventStarted, What: f.path, Size: f.size}
	tries := 0
	sum, err := place.Ingest(ctx, f.path, f.size, func(ctx context.Context) (io.ReadCloser, error) {
		in, err := s.open(ctx, f, 0)
		if err != nil {
			return nil, err
		}
		if tries++; tries == 1 {
			events.Emit(e)
		}
		return bundle.WithProgress(in, e, events), nil
	})
	if errors.Is(err, errors.ErrUnsupported) {
		if tries > 0 {
			e.Kind, e.Attempt, e.Reason = bundle.EventRetry, tries+1, "the registry wants to know the digest first"
			events.Emit(e)
		}
		return nil
	}
	if err != nil {
		return f.named(err)
	}
	if err := s.settle(f, sum); err != nil {
		return err
	}
	e.Kind, e.Offset, e.Digest = bundle.EventDone, f.size, sum.String()
	events.Emit(e)
	return nil
}
