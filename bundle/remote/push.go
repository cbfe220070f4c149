// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// Tag implements [bundle.Target]. Errors: [bundle.ErrNotFound],
// [bundle.ErrUnauthorized], [bundle.ErrUnreachable].
func (r *Repository) Tag(ctx context.Context, desc bundle.Descriptor, name string) error {
	return r.fail(ctx, "tag "+name, r.api.Tag(ctx, desc, name))
}

// Push implements [bundle.Target]. An upload that breaks is begun again, from
// a source opened anew, unless the registry turns out to have the blob: the
// answer alone may have been lost. Errors: [bundle.ErrMismatch],
// [bundle.ErrUnauthorized], [bundle.ErrUnreachable], [bundle.ErrInvalid],
// those of open.
func (r *Repository) Push(ctx context.Context, desc bundle.Descriptor, open bundle.Opener) error {
	what := "push " + bundle.Label(desc)
	if err := bundle.CheckDescriptor(desc); err != nil {
		return r.fail(ctx, what, err)
	}
	if bundle.IsManifest(desc.MediaType) {
		return r.pushManifest(ctx, desc, open)
	}
	return r.fail(ctx, what, r.untilSent(ctx, bundle.Event{What: bundle.Label(desc), Digest: desc.Digest.String(), Size: desc.Size}, func(attempt int) (bool, error) {
		if attempt > 1 {
			if ok, err := r.Exists(ctx, desc); err == nil && ok {
				return false, nil
			}
		}
		return r.pushBlob(ctx, desc, open)
	}))
}

// untilSent makes uploads until one works, or its error says that no other
// would. e is the blob's event.
func (r *Repository) untilSent(ctx context.Context, e bundle.Event, upload func(attempt int) (again bool, err error)) error {
	for attempt := 1; ; attempt++ {
		again, err := upload(attempt)
		if err == nil || !again || attempt == pushTries || ctx.Err() != nil {
			return err
		}
		e.Kind, e.Attempt, e.Reason = bundle.EventRetry, attempt+1, httpstream.RootCause(err).Error()
		r.opts.Events.Emit(e)
		if err := r.opts.Wait(ctx, httpstream.Backoff(attempt)); err != nil {
			return err
		}
	}
}

// pushManifest sends a manifest whole; one with a subject is listed among its
// referrers too.
func (r *Repository) pushManifest(ctx context.Context, desc bundle.Descriptor, open bundle.Opener) error {
	what := "push manifest " + desc.Digest.String()
	if err := checkManifest(desc); err != nil {
		return r.fail(ctx, what, err)
	}
	rc, err := open(ctx)
	if err != nil {
		return err
	}
	data, err := bundle.ReadVerified(rc, desc)
	if err := errors.Join(err, rc.Close()); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return r.fail(ctx, what, r.api.Manifests().Push(ctx, desc, bytes.NewReader(data)))
}

// pushBlob makes one upload and tells whether another may do better.
func (r *Repository) pushBlob(ctx context.Context, desc bundle.Descriptor, open bundle.Opener) (again bool, err error) {
	rc, err := open(ctx)
	if err != nil {
		return false, err
	}
	if known, ok := rc.(bundle.KnownFile); ok {
		if f, moved := known.KnownFile(); f != nil && hasSize(f, desc.Size) {
			again, err := r.pushFile(ctx, desc, f, moved)
			if err == nil || again {
				return again, err
			}
			if rc, err = open(ctx); err != nil { // it may have been changed, which reading it will tell
				return false, err
			}
		}
	}
	ctx, dog := httpstream.Watch(ctx, pushStallTimeout)
	defer dog.Stop()
	body := &upload{r: bundle.NewVerifier(rc, desc), c: rc, left: desc.Size, dog: dog}
	err = r.blobs.Blobs().Push(ctx, desc, body)
	closeErr := body.Close()
	switch {
	case body.failure() != nil:
		return false, body.failure() // the source's fault: the same bytes would come again
	case err == nil:
		return false, closeErr
	}
	err = dog.Explain(err)
	return passing(err), err
}

// passing reports whether an upload that failed may work next time.
func passing(err error) bool {
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		switch answer.StatusCode {
		case http.StatusNotFound, http.StatusTooManyRequests: // not found is the upload session
			return true
		case http.StatusUnauthorized: // a token that ended on the way; the next POST gets another
			return answer.Method != http.MethodPost
		}
		return answer.StatusCode >= http.StatusInternalServerError
	}
	return httpstream.IsUnreachable(err)
}

// upload is the body of a PUT or PATCH: verified, watched, and closed only once nobody
// reads. net/http may still be reading when it has returned the answer.
type upload struct {
	mu     sync.Mutex
	r      *bundle.Verifier
	c      io.Closer
	left   int64
	dog    *httpstream.Watchdog
	err    error // of the source
	closed bool
}

// Read implements io.Reader. The last bytes leave only after all were found
// right, so a registry never holds the whole of a wrong blob.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return 0, io.ErrClosedPipe
	}
	u.dog.Guard()
	n, err := u.r.Read(p)
	u.left -= int64(n)
	if err == nil && u.left <= 0 {
		err = u.r.Finish()
		if err == nil {
			return n, nil
		}
		n = 0
	}
	if err != nil && !errors.Is(err, io.EOF) {
		u.err = err
	}
	return n, err
}

// Close implements io.Closer.
func (u *upload) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil
	}
	u.closed = true
	return u.c.Close()
}

// failure is what the source did wrong, if anything.
func (u *upload) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}
