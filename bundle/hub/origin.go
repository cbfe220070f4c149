// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
)

const (
	// headSize is how much of a weight file is asked for first, in bytes: most
	// safetensors headers are shorter, and of a shard only that is wanted until
	// the whole of it is copied.
	headSize = 256 << 10
	maxNamed = 8 // files that a note names
)

// Origin is the commit as a place that models are built from. It holds what
// [Select] wants; what is left out is told in a note. Source and revision are
// known, the model card says the rest. Files in LFS have a sha256, the others
// are verified by their git id before a byte of them is handed out.
func (r *Repo) Origin() model.Origin { return repoOrigin{r} }

type repoOrigin struct{ *Repo }

// List implements [model.Origin]. Errors are those of [Repo.Files], and
// [bundle.ErrInvalid] where all weights are in formats that are left out.
func (o repoOrigin) List(ctx context.Context) (*model.Listing, error) {
	files, err := o.Files(ctx)
	if err != nil {
		return nil, err
	}
	return listing(files, o.name, o.URL(), o.commit, o.s.events)
}

// Open implements [model.Origin]. Errors are those of [Repo.Open] and
// [Repo.ReadSmall].
func (o repoOrigin) Open(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	f, err := o.file(ctx, path)
	if err != nil {
		return nil, err
	}
	if f.SHA256 != "" {
		return o.openLarge(ctx, f, offset)
	}
	data, err := o.ReadSmall(ctx, path, 0)
	if err != nil {
		return nil, err
	}
	rc, err := from(ctx, data, offset)
	return rc, o.fail(ctx, f, err)
}

// Origin is the snapshot as a place that models are built from, as
// [Repo.Origin] is, so that both give one artifact: of a cache of the public hub
// to the byte. events hears what is left out; nil = nobody.
func (s *Snapshot) Origin(events bundle.EventFunc) model.Origin { return snapshotOrigin{s, events} }

type snapshotOrigin struct {
	*Snapshot
	events bundle.EventFunc
}

// List implements [model.Origin]. Errors: [bundle.ErrInvalid] where all weights
// are in formats that are left out.
func (o snapshotOrigin) List(context.Context) (*model.Listing, error) {
	return listing(o.files, o.name, o.URL(), o.commit, o.events)
}

// Open implements [model.Origin]. Errors are those of [Snapshot.Open] and
// [Snapshot.ReadSmall].
func (o snapshotOrigin) Open(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if f, _ := find(o.files, path); f.GitID == "" {
		return o.Snapshot.Open(ctx, path, offset)
	}
	data, err := o.ReadSmall(ctx, path, 0)
	if err != nil {
		return nil, err
	}
	rc, err := from(ctx, data, offset)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", o, path, err)
	}
	return rc, nil
}

// from reads data from offset on.
func from(ctx context.Context, data []byte, offset int64) (io.ReadCloser, error) {
	if offset < 0 || offset > int64(len(data)) {
		return nil, fmt.Errorf("offset %d of %d bytes: %w", offset, len(data), bundle.ErrInvalid)
	}
	return bundle.BytesOpener(data[offset:])(ctx)
}

// listing is what a commit holds of a model.
func listing(files []File, repo, source, commit string, events bundle.EventFunc) (*model.Listing, error) {
	about := subject{repo, commit, ""}
	if err := checkWeights(about, files); err != nil {
		return nil, err
	}
	wanted, left := Select(files)
	name := about.String()
	if len(left) > 0 {
		events.Emit(bundle.Event{Kind: bundle.EventNote, What: name, Reason: name + ": left out, as no part of an MLX model: " + names(left)})
	}
	l := &model.Listing{Name: name, Facts: model.Facts{Source: source, Revision: commit}}
	for _, f := range wanted {
		l.Files = append(l.Files, model.OriginFile{Path: f.Path, Size: f.Size, SHA256: f.SHA256})
	}
	return l, nil
}

// names lists the first files, and how many more there are.
func names(files []File) string {
	first := files[:min(len(files), maxNamed)]
	all := make([]string, 0, len(first))
	for _, f := range first {
		all = append(all, f.Path)
	}
	text := strings.Join(all, ", ")
	if n := len(files) - maxNamed; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// openLarge streams a file. From its beginning on the head is asked for alone:
// whoever wants no more closes the stream, and nothing else is under way then.
func (o repoOrigin) openLarge(ctx context.Context, f File, offset int64) (io.ReadCloser, error) {
	if offset > 0 || f.Size <= headSize {
		return o.open(ctx, f, offset, f.Size)
	}
	data, err := o.ReadRange(ctx, f.Path, 0, headSize)
	if err != nil {
		return nil, err
	}
	return &headed{head: bytes.NewReader(data), rest: func() (io.ReadCloser, error) { return o.open(ctx, f, headSize, f.Size) }}, nil
}

// headed is a stream of which the beginning is here.
type headed struct {
	head *bytes.Reader
	rest func() (io.ReadCloser, error)
	body io.ReadCloser // nil until the head is read
}

// Read implements io.Reader.
func (h *headed) Read(p []byte) (int, error) {
	if n, err := h.head.Read(p); !errors.Is(err, io.EOF) {
		return n, err
	}
	if h.body == nil {
		body, err := h.rest()
		if err != nil {
			return 0, err
		}
		h.body = body
	}
	return h.body.Read(p)
}

// Close implements io.Closer.
func (h *headed) Close() error {
	if h.body == nil {
		return nil
	}
	return h.body.Close()
}
