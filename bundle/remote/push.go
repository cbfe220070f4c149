// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// Tag implements [bundle.Target]. Errors: [bundle.ErrNotFound],
// [bundle.ErrUnauthorized], [bundle.ErrUnreachable].
func (r *Repository) Tag(ctx context.Context, desc bundle.Descriptor, name string) error {
	return r.fail(ctx, "tag "+name, r.api.Tag(ctx, desc, name))
}

// Push implements [bundle.Target]. An upload that breaks goes on, from a source
// opened anew, where the registry says that it has come to, or is begun again,
// unless the registry turns out to have the blob: the answer alone may have been
// lost. Errors: [bundle.ErrMismatch],
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
	s := &sending{r: r, what: bundle.Label(desc), size: desc.Size}
	return r.fail(ctx, what, s.until(ctx, desc.Digest, func(attempt int) (bool, error) {
		if attempt > 1 {
			if ok, err := r.Exists(ctx, desc); err == nil && ok {
				return false, nil
			}
		}
		return s.push(ctx, desc, open)
	}))
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

// push makes one upload and tells whether another may do better.
func (s *sending) push(ctx context.Context, desc bundle.Descriptor, open bundle.Opener) (again bool, err error) {
	rc, err := open(ctx)
	if err != nil {
		return false, err
	}
	if known, ok := rc.(bundle.KnownFile); ok {
		if f, moved := known.KnownFile(); f != nil && hasSize(f, desc.Size) {
			again, err := s.pushFile(ctx, desc, f, moved)
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
	body := &upload{r: bundle.NewVerifier(rc, desc), c: rc, left: desc.Size, dog: dog, wait: s.wait}
	if err = s.start(ctx); err == nil {
		err = s.skip(ctx, body)
	}
	if err == nil {
		err = s.put(ctx, desc.Digest, io.NopCloser(body))
	}
	closeErr := body.Close()
	switch {
	case body.failure() != nil:
		return false, body.failure() // the source's fault: the same bytes would come again
	case err == nil:
		return false, closeErr
	}
	err = dog.Explain(err)
	return s.again(err), err
}

// upload is the body of a PUT or PATCH: verified, watched, and closed only once nobody
// reads. net/http may still be reading when it has returned the answer.
type upload struct {
	mu     sync.Mutex
	r      *bundle.Verifier
	c      io.Closer
	left   int64
	dog    *httpstream.Watchdog
	wait   func(left int64) time.Duration // for the registry to take what was read
	err    error                          // of the source
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
	u.dog.Guard() // a source has its own guard, and its own pauses
	n, err := u.r.Read(p)
	u.left -= int64(n)
	u.dog.GuardFor(u.wait(u.left))
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
