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
		Size: desc.Size, Tries: httpstream.Patience(r.opts.Retries),
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

// connect asks for a blob from offset on and returns a body that begins there. A
// signed address of the storage behind the registry that no longer opens, and a
// range that is refused, have one more chance: the registry signs another, and the
// blob is read from its beginning.
func (r *Repository) connect(ctx context.Context, desc bundle.Descriptor, offset int64) (io.ReadCloser, error) {
	w, err := r.ask(ctx, desc, offset)
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); ok && r.isExpired(answer) {
		if w, err = r.ask(ctx, desc, offset); err != nil {
			err = r.stillExpired(err)
		}
	}
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); ok && offset > 0 && answer.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		w, err = r.ask(ctx, desc, 0)
	}
	if err != nil {
		return nil, err
	}
	if offset > 0 && w.Response.StatusCode == http.StatusOK {
		what := bundle.Label(desc)
		r.opts.Events.Emit(bundle.Event{
			Kind: bundle.EventNote, What: what, Digest: desc.Digest.String(), Offset: offset, Size: desc.Size,
			Reason: fmt.Sprintf("%s: %s serves no ranges; read again from its beginning", what, w.Response.Request.URL.Host),
		})
	}
	if err := httpstream.Begin(w, desc.Size, offset); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// ask sends one request for a blob; 0 asks for all of it.
func (r *Repository) ask(ctx context.Context, desc bundle.Descriptor, offset int64) (*httpstream.Body, error) {
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	return r.get(ctx, r.blobs, "/blobs/"+desc.Digest.String(), header)
}

// isExpired reports whether a refusal is that of a storage which does not take
// the registry's signature.
func (r *Repository) isExpired(answer *errcode.ErrorResponse) bool {
	refused := answer.StatusCode == http.StatusForbidden || answer.StatusCode == http.StatusUnauthorized
	return refused && answer.URL.Host != r.ref.Host()
}

// stillExpired is the error of the second chance: no login at the registry opens
// what its storage refuses.
func (r *Repository) stillExpired(err error) error {
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); ok && r.isExpired(answer) {
		return fmt.Errorf("%s, where the registry sends us, answered %d to an address that was just signed; is the clock right? %w", answer.URL.Host, answer.StatusCode, bundle.ErrUnavailable)
	}
	return err
}
