// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/metalpack/metalpack/bundle"
)

// progressMade is how many bytes earn a stream a fresh count of tries.
const progressMade = 256 << 10

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
	b := &blobReader{
		desc: desc, offset: offset, mark: offset, tries: r.opts.Retries,
		connect: func(offset int64) (io.ReadCloser, error) { return r.connect(ctx, desc, offset) },
		pause: func(attempt int, offset int64, reason error) error {
			r.opts.Events.Emit(bundle.Event{
				Kind: bundle.EventRetry, What: what, Digest: desc.Digest.String(), Offset: offset, Size: desc.Size,
				Attempt: attempt + 1, Reason: rootCause(reason).Error(),
			})
			return r.opts.Wait(ctx, backoff(attempt))
		},
		done: func() bool { return ctx.Err() != nil },
		fail: func(err error) error { return r.fail(ctx, what, err) },
	}
	body, err := b.connect(offset)
	if err != nil {
		return nil, b.fail(err)
	}
	b.body = body
	return b, nil
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
	if err := checkAnswer(w, desc, offset); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// checkAnswer compares what comes with what was asked for. A server that
// ignores the range begins at 0: what is known already is read and dropped.
func checkAnswer(w *watched, desc bundle.Descriptor, offset int64) error {
	if w.resp.StatusCode == http.StatusOK {
		if n := w.resp.ContentLength; n >= 0 && n != desc.Size {
			return fmt.Errorf("the registry has %d bytes, want %d: %w", n, desc.Size, bundle.ErrMismatch)
		}
		if _, err := io.CopyN(io.Discard, w, offset); err != nil {
			return noEOF(err)
		}
		return nil
	}
	start, total, ok := contentRange(w.resp.Header.Get("Content-Range"))
	if !ok || start != offset {
		return fmt.Errorf("asked from byte %d on, got range %.60q: %w", offset, w.resp.Header.Get("Content-Range"), bundle.ErrInvalid)
	}
	if total >= 0 && total != desc.Size {
		return fmt.Errorf("the registry has %d bytes, want %d: %w", total, desc.Size, bundle.ErrMismatch)
	}
	return nil
}

// contentRange reads "bytes a-b/total"; an unknown total ("*") is -1.
func contentRange(s string) (start, total int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, all, ok2 := strings.Cut(s, "/")
	first, _, ok3 := strings.Cut(span, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	if !ok || !ok2 || !ok3 || err != nil {
		return 0, 0, false
	}
	if all == "*" {
		return start, -1, true
	}
	total, err = strconv.ParseInt(all, 10, 64)
	return start, total, err == nil
}

// blobReader is a stream over as many connections as it takes. Errors stay.
type blobReader struct {
	desc    bundle.Descriptor
	offset  int64 // of the next byte
	mark    int64 // where the count of tries began
	attempt int   // tries since mark
	tries   int
	body    io.ReadCloser // nil between two connections
	err     error

	connect func(offset int64) (io.ReadCloser, error)
	pause   func(attempt int, offset int64, reason error) error
	done    func() bool
	fail    func(error) error
}

// Read implements io.Reader.
func (b *blobReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	for {
		n, err := b.body.Read(p)
		b.offset += int64(n)
		if errors.Is(err, io.EOF) && b.offset < b.desc.Size {
			err = io.ErrUnexpectedEOF
		}
		if b.offset-b.mark >= progressMade {
			b.mark, b.attempt = b.offset, 0
		}
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, io.EOF):
			b.err = io.EOF
			return n, io.EOF
		}
		if b.err = b.resume(err); b.err != nil || n > 0 {
			return n, b.err
		}
	}
}

// resume replaces the connection that reason ended.
func (b *blobReader) resume(reason error) error {
	if b.offset >= b.desc.Size {
		// All bytes came and only the end of the answer was lost; whoever
		// verifies them will say whether they are right.
		return io.EOF
	}
	for {
		_ = b.body.Close() // it has failed already
		if b.attempt++; b.attempt > b.tries || b.done() {
			return b.fail(reason)
		}
		if err := b.pause(b.attempt, b.offset, reason); err != nil {
			return b.fail(err)
		}
		body, err := b.connect(b.offset)
		if err == nil {
			b.body = body
			return nil
		}
		if !isCut(err) {
			return b.fail(err)
		}
		reason = err
	}
}

// Close implements io.Closer.
func (b *blobReader) Close() error {
	if b.err == nil {
		b.err = io.ErrClosedPipe
	}
	return b.body.Close()
}

// isCut reports whether a stream ended for a reason that may pass.
func isCut(err error) bool {
	return !known(err) && isUnreachable(err)
}

// noEOF makes an early end an error that is not mistaken for a proper one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
