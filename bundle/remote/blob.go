// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// Open implements [bundle.Source]. The stream mends itself: after a cut or a
// stall it goes on from the byte it has reached. Errors, at once or later:
// [bundle.ErrNotFound], [bundle.ErrMismatch] if the registry's blob has
// another size, [bundle.ErrUnauthorized], [bundle.ErrUnreachable],
// [bundle.ErrInvalid].
func (r *Repository) Open(ctx context.Context, desc bundle.Descriptor, offset int64) (io.ReadCloser, error) {
	what := bundle.Label(desc)
	if err := bundle.CheckDescriptor(desc); err != nil {
		return nil, r.fail(ctx, what, err)
	}
	if offset < 0 || offset > desc.Size {
		return nil, r.fail(ctx, what, fmt.Errorf("offset %d of %d bytes: %w", offset, desc.Size, bundle.ErrInvalid))
	}
	if offset == desc.Size && offset > 0 {
		return io.NopCloser(strings.NewReader("")), nil // a range of no bytes cannot be asked for
	}
	return httpstream.Source{
		Size: desc.Size, Tries: r.opts.Retries,
		Connect: func(offset int64) (io.ReadCloser, error) { return r.connect(ctx, desc, offset) },
		Pause: func(attempt int, offset int64, reason error) error {
			r.opts.Events.Emit(bundle.Event{
				Kind: bundle.EventRetry, What: what, Digest: desc.Digest.String(), Offset: offset, Size: desc.Size,
				Attempt: attempt + 1, Reason: httpstream.RootCause(reason).Error(),
			})
			return r.opts.Wait(ctx, httpstream.Backoff(attempt))
		},
		Done: func() bool { return ctx.Err() != nil },
		Fail: func(err error) error { return r.fail(ctx, what, err) },
	}.Open(offset)
}

// connect asks for a blob from offset on and returns a body that begins there.
func (r *Repository) connect(ctx context.Context, desc bundle.Descriptor, offset int64) (io.ReadCloser, error) {
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	w, err := r.get(ctx, r.blobs, "/blobs/"+desc.Digest.String(), header)
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); ok && answer.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return nil, fmt.Errorf("the registry has less than %d of %d bytes: %w", offset, desc.Size, bundle.ErrMismatch)
	}
	if err != nil {
		return nil, err
	}
	if err := httpstream.Begin(w, desc.Size, offset); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}
