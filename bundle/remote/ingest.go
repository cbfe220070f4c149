// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// Ingest implements [bundle.Ingester] by the upload that container engines
// make: POST, all bytes in one PATCH without a range, and PUT, which alone says
// the digest. It goes on or is begun again as Push is. What a registry has against it
// after the POST is errors.ErrUnsupported, because it may well take one PUT, and
// then no further blob is tried this way. Errors: [bundle.ErrMismatch],
// [bundle.ErrUnauthorized], [bundle.ErrUnreachable], errors.ErrUnsupported, those
// of open.
func (r *Repository) Ingest(ctx context.Context, what string, size int64, open bundle.Opener) (d digest.Digest, err error) {
	if size <= 0 || r.digestFirst.Load() {
		return "", r.fail(ctx, "push "+what, errors.ErrUnsupported)
	}
	sent := &sending{r: r, what: what, size: size}
	err = sent.until(ctx, "", func(int) (again bool, err error) {
		d, again, err = sent.ingest(ctx, open)
		return again, err
	})
	if err == nil {
		return d, nil
	}
	_, begun := errors.AsType[*patchError](err)
	if err = r.fail(ctx, "push "+what, err); begun && ctx.Err() == nil {
		r.digestFirst.Store(true)
		err = fmt.Errorf("%w: %w", err, errors.ErrUnsupported)
	}
	return "", err
}

// patchError is what went wrong with an upload once it was begun.
type patchError struct{ error }

// Unwrap returns the cause.
func (e *patchError) Unwrap() error { return e.error }

// ingest makes one upload and tells whether another may do better.
func (s *sending) ingest(ctx context.Context, open bundle.Opener) (d digest.Digest, again bool, err error) {
	rc, err := open(ctx)
	if err != nil {
		return "", false, err
	}
	ctx, dog := httpstream.Watch(ctx, pushStallTimeout)
	defer dog.Stop()
	seen := bundle.NewDigester(rc, s.size)
	body := &upload{r: seen, c: rc, left: s.size, dog: dog, wait: s.wait}
	if err = s.start(ctx); err == nil {
		err = s.patch(ctx, body)
		if err == nil && body.failure() == nil {
			dog.GuardFor(s.wait(0))
			d = seen.Digest()
			err = s.finish(ctx, d)
		}
		if err != nil {
			err = &patchError{dog.Explain(err)}
		}
	}
	closeErr := body.Close()
	switch {
	case body.failure() != nil:
		return "", false, body.failure() // the source's fault: the same bytes would come again
	case err != nil:
		return "", s.again(err), dog.Explain(err)
	}
	return d, false, closeErr
}

// patch sends all bytes that the registry does not have yet.
func (s *sending) patch(ctx context.Context, body io.Reader) error {
	if err := s.skip(ctx, body); err != nil || s.kept == s.size {
		return err
	}
	to, err := s.at.next()
	if err != nil {
		return err
	}
	sent, err := s.send(ctx, http.MethodPatch, to, io.NopCloser(body), http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	if err == nil {
		s.at = &sent
	}
	return err
}

// finish says the digest. If the answer was lost the blob may be there.
func (s *sending) finish(ctx context.Context, d digest.Digest) error {
	to, err := s.at.next()
	if err != nil {
		return err
	}
	_, err = s.r.send(ctx, http.MethodPut, naming(to, d).String(), nil, http.StatusCreated)
	if err != nil {
		if ok, xerr := s.r.Exists(ctx, bundle.Descriptor{Digest: d}); xerr == nil && ok {
			return nil
		}
	}
	return err
}
