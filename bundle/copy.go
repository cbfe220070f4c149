// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"
)

// DefaultParallel is how many blobs move at once unless told otherwise.
const DefaultParallel = 4

// CopyOptions says how [Copy] works. The zero value is useful.
type CopyOptions struct {
	Parallel int       // blobs at once; 0 = [DefaultParallel]
	Events   EventFunc // progress; nil = none
}

// Copy moves a manifest or index and all it names from src to dst: blobs in
// parallel, each manifest after what it names, the root last. What dst already
// has is not read. It tags nothing. Errors are those of src and dst, and
// [ErrInvalid] for a malformed manifest.
func Copy(ctx context.Context, src Source, dst Target, root Descriptor, o CopyOptions) error {
	if o.Parallel == 0 {
		o.Parallel = DefaultParallel
	}
	return copyGraph(ctx, src, dst, root, o, 0)
}

// copyGraph copies one manifest with its children. Depth counts indexes above.
func copyGraph(ctx context.Context, src Source, dst Target, desc Descriptor, o CopyOptions, depth int) error {
	if depth > 1 {
		return fmt.Errorf("%s: an index within an index: %w", desc.Digest, ErrInvalid)
	}
	data, err := src.Manifest(ctx, desc)
	if err != nil {
		return err
	}
	children, err := Children(desc.MediaType, data)
	if err != nil {
		return fmt.Errorf("%s: %w", desc.Digest, err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Parallel)
	for _, child := range unique(children) {
		if IsManifest(child.MediaType) {
			// One after the other: twins share blobs, and what the first
			// pushed the second finds.
			if err := copyGraph(ctx, src, dst, child, o, depth+1); err != nil {
				stop()
				_ = g.Wait() // blobs beside it must not be moving still when we return
				return err
			}
			continue
		}
		g.Go(func() error { return copyBlob(gctx, src, dst, child, o.Events) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return dst.Push(ctx, desc, BytesOpener(data))
}

// copyBlob moves one blob unless dst has it.
func copyBlob(ctx context.Context, src Source, dst Target, desc Descriptor, events EventFunc) error {
	e := Event{What: blobLabel(desc), Digest: desc.Digest.String(), Size: desc.Size}
	ok, err := dst.Exists(ctx, desc)
	if err != nil {
		return err
	}
	if ok {
		e.Kind, e.Reason = EventSkipped, "already there"
		events.Emit(e)
		return nil
	}
	e.Kind = EventStarted
	events.Emit(e)
	open := func(ctx context.Context) (io.ReadCloser, error) {
		rc, err := src.Open(ctx, desc, 0)
		if err != nil {
			return nil, err
		}
		e := e
		return &progressReader{ReadCloser: rc, event: e, events: events}, nil
	}
	if err := dst.Push(ctx, desc, open); err != nil {
		return err
	}
	e.Kind, e.Offset = EventDone, desc.Size
	events.Emit(e)
	return nil
}

// blobLabel names a blob for a human.
func blobLabel(d Descriptor) string {
	switch {
	case d.Annotations[AnnotationLayer] != "":
		return "layer " + d.Annotations[AnnotationLayer]
	case d.Annotations[AnnotationFilepath] != "":
		return d.Annotations[AnnotationFilepath]
	case d.Annotations[AnnotationTitle] != "":
		return d.Annotations[AnnotationTitle]
	}
	return "blob " + d.Digest.Encoded()[:12]
}

// unique drops repeated digests, keeping the order.
func unique(ds []Descriptor) []Descriptor {
	seen := make(map[string]bool, len(ds))
	var out []Descriptor
	for _, d := range ds {
		if !seen[d.Digest.String()] {
			seen[d.Digest.String()] = true
			out = append(out, d)
		}
	}
	return out
}

// BytesOpener opens the same bytes again and again.
func BytesOpener(data []byte) Opener {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

// progressReader reports what has been read, once per progressStep.
type progressReader struct {
	io.ReadCloser
	event    Event
	events   EventFunc
	reported int64
}

// progressStep is how many bytes lie between two progress events of one item.
const progressStep = 1 << 20

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	p.event.Offset += int64(n)
	if p.event.Offset-p.reported >= progressStep || (errors.Is(err, io.EOF) && p.event.Offset > p.reported) {
		p.report()
	}
	return n, err
}

func (p *progressReader) report() {
	p.reported = p.event.Offset
	p.event.Kind = EventProgress
	p.events.Emit(p.event)
}

// KnownFile implements [KnownFile].
func (p *progressReader) KnownFile() (*os.File, func(int64)) {
	known, ok := p.ReadCloser.(KnownFile)
	if !ok {
		return nil, nil
	}
	f, _ := known.KnownFile()
	return f, func(offset int64) {
		if p.event.Offset = offset; offset > p.reported {
			p.report()
		}
	}
}

// CloneTo implements [Cloner].
func (p *progressReader) CloneTo(path string) error { return CloneTo(p.ReadCloser, path) }

// FileName implements [NamedStream].
func (p *progressReader) FileName() string {
	if named, ok := p.ReadCloser.(NamedStream); ok {
		return named.FileName()
	}
	return ""
}

// WithProgress reports the reading of rc, which begins at e.Offset, as events
// of the item e names.
func WithProgress(rc io.ReadCloser, e Event, events EventFunc) io.ReadCloser {
	return &progressReader{ReadCloser: rc, event: e, events: events, reported: e.Offset}
}
