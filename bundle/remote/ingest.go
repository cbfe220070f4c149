// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// Ingest implements [bundle.Ingester] by the upload that container engines
// make: POST, all bytes in one PATCH without a range, and PUT, which alone says
// the digest. It is begun again as Push is. What a registry has against it
// after the POST is errors.ErrUnsupported, because it may well take one PUT, and
// then no further blob is tried this way. Errors: [bundle.ErrMismatch],
// [bundle.ErrUnauthorized], [bundle.ErrUnreachable], errors.ErrUnsupported, those
// of open.
func (r *Repository) Ingest(ctx context.Context, what string, size int64, open bundle.Opener) (d digest.Digest, err error) {
	if size <= 0 || r.digestFirst.Load() {
		return "", r.fail(ctx, "push "+what, errors.ErrUnsupported)
	}
	err = r.untilSent(ctx, bundle.Event{What: what, Size: size}, func(int) (again bool, err error) {
		d, again, err = r.ingest(ctx, size, open)
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
func (r *Repository) ingest(ctx context.Context, size int64, open bundle.Opener) (d digest.Digest, again bool, err error) {
	rc, err := open(ctx)
	if err != nil {
		return "", false, err
	}
	ctx, dog := httpstream.Watch(auth.AppendRepositoryScope(ctx, r.ref, auth.ActionPull, auth.ActionPush), pushStallTimeout)
	defer dog.Stop()
	seen := bundle.NewDigester(rc, size)
	body := &upload{r: seen, c: rc, left: size, dog: dog}
	begun, err := r.send(ctx, http.MethodPost, r.base+"/blobs/uploads/", nil, http.StatusAccepted)
	if err == nil {
		var sent answer
		sent, err = r.patch(ctx, begun, body, size)
		if err == nil && body.failure() == nil {
			dog.Guard()
			d = seen.Digest()
			err = r.finish(ctx, sent, d)
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
		return "", passing(err), dog.Explain(err)
	}
	return d, false, closeErr
}

// patch sends all bytes, with the credentials that the registry took for the
// POST: a body cannot be sent again after a challenge.
func (r *Repository) patch(ctx context.Context, begun answer, body io.Reader, size int64) (answer, error) {
	to, err := begun.next()
	if err != nil {
		return answer{}, err
	}
	return r.send(ctx, http.MethodPatch, to.String(), func(req *http.Request) {
		req.Body, req.ContentLength = io.NopCloser(body), size
		if a := begun.request.Header.Get("Authorization"); a != "" {
			req.Header.Set("Authorization", a)
		}
	}, http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
}

// finish says the digest. If the answer was lost the blob may be there.
func (r *Repository) finish(ctx context.Context, sent answer, d digest.Digest) error {
	to, err := sent.next()
	if err != nil {
		return err
	}
	q := to.Query()
	q.Set("digest", d.String())
	to.RawQuery = q.Encode()
	_, err = r.send(ctx, http.MethodPut, to.String(), nil, http.StatusCreated)
	if err != nil {
		if ok, xerr := r.Exists(ctx, bundle.Descriptor{Digest: d}); xerr == nil && ok {
			return nil
		}
	}
	return err
}

// answer is what a registry says to a step of an upload, with the request as it
// was sent in the end.
type answer struct {
	request *http.Request
	header  http.Header
}

// send makes a request whose answer has no content; any status but those
// wanted is an error.
func (r *Repository) send(ctx context.Context, method, address string, prepare func(*http.Request), want ...int) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	if method != http.MethodPost {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	if prepare != nil {
		prepare(req)
	}
	resp, err := r.blobs.Client.Do(req) //nolint:bodyclose // Drain closes it
	if err != nil {
		return answer{}, err
	}
	defer httpstream.Drain(resp.Body)
	if !slices.Contains(want, resp.StatusCode) {
		return answer{}, refusal(resp, resp.Body)
	}
	return answer{resp.Request, resp.Header}, nil
}

// next is where the upload goes on: on the same host, because credentials go
// there, and not on a less safe way. After the bytes it may go on where it was.
func (a answer) next() (*url.URL, error) {
	was, location := a.request.URL, a.header.Get("Location")
	if location == "" && a.request.Method == http.MethodPost {
		return nil, http.ErrNoLocation
	}
	to, err := was.Parse(location)
	if err != nil {
		return nil, err
	}
	if was.Port() == "443" && to.Port() == "" && to.Hostname() == was.Hostname() {
		to.Host = was.Host // credentials are kept by the name that the user wrote
	}
	if to.Host != was.Host || to.Scheme != was.Scheme && to.Scheme != "https" {
		return nil, fmt.Errorf("upload sent from %s to %s://%s: %w", was.Host, to.Scheme, to.Host, httpstream.ErrRedirect)
	}
	return to, nil
}
