// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// How downloads behave.
const (
	attempts     = 5
	firstDelay   = 200 * time.Millisecond // doubles with every attempt, plus jitter
	maxAfter     = 2 * time.Minute        // that a server can make us wait by Retry-After
	stallTimeout = 60 * time.Second       // without a byte
)

// newClient returns a client for large files: HTTP/1.1, so that parallel
// files use parallel connections, and bytes as they are. The error is that of
// the certificates.
func newClient(caFile string) (*http.Client, error) {
	config, err := httpstream.Trust(caFile)
	if err != nil {
		return nil, err
	}
	_, files := httpstream.Transports(config, stallTimeout)
	return &http.Client{Transport: files}, nil
}

// fromURL downloads into the cache.
func (j *job) fromURL(ctx context.Context, w Want, address string) (bool, error) {
	return j.fill(ctx, w, "", func(p *partial) error { return j.download(ctx, w, address, p) })
}

// fetchError is a failure of an address, not of our disk. It shows the host
// alone.
type fetchError struct {
	host  string
	err   error
	final bool          // trying again is useless
	after time.Duration // that the server asks to wait
}

func (e *fetchError) Error() string { return fmt.Sprintf("%s: %v", e.host, e.err) }
func (e *fetchError) Unwrap() error { return e.err }

// download fills p, trying again from where it stopped.
func (j *job) download(ctx context.Context, w Want, address string, p *partial) error {
	for attempt, delay := 1, firstDelay; ; attempt, delay = attempt+1, delay*2 {
		err := j.attempt(ctx, w, address, p)
		if err == nil || ctx.Err() != nil {
			return err
		}
		reach, ok := errors.AsType[*fetchError](err)
		if !ok || reach.final || attempt == attempts {
			return err
		}
		e := j.at(w, 0, p.size)
		e.Kind, e.Attempt, e.Reason = bundle.EventRetry, attempt+1, err.Error()
		j.Events.Emit(e)
		pause := delay + rand.N(delay) //nolint:gosec // jitter is no secret
		if err := j.wait(ctx, max(pause, min(reach.after, maxAfter))); err != nil {
			return err
		}
	}
}

// wait passes the time until the next attempt.
func (j *job) wait(ctx context.Context, d time.Duration) error {
	if j.Wait != nil {
		return j.Wait(ctx, d)
	}
	return httpstream.Wait(ctx, d)
}

// attempt makes one request for the bytes that p lacks.
func (j *job) attempt(ctx context.Context, w Want, address string, p *partial) (err error) {
	if w.Size > 0 && p.size > w.Size {
		if err := p.restart(); err != nil {
			return err
		}
	}
	if w.Size > 0 && p.size == w.Size {
		return nil // complete; the caller checks it
	}
	where, err := url.Parse(address)
	if err != nil || where.Host == "" {
		return &fetchError{host: "address", err: fmt.Errorf("does not parse: %w", bundle.ErrInvalid), final: true}
	}
	host, header := where.Host, http.Header{}
	if p.size > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", p.size))
	}
	body, err := httpstream.Get(ctx, j.client, address, header, stallTimeout)
	if err != nil {
		var dns *net.DNSError
		useless := errors.As(err, &dns) && dns.IsNotFound || errors.Is(err, syscall.ECONNREFUSED)
		return &fetchError{host: host, err: fmt.Errorf("%s: %w", reason(ctx, err), bundle.ErrUnreachable), final: useless}
	}
	defer func() { _ = body.Close() }() // read side
	resp := body.Response
	if err := accept(resp, p); err != nil {
		if bad, ok := errors.AsType[*fetchError](err); ok {
			bad.host = host
		}
		return err
	}
	whole := int64(0)
	if resp.ContentLength >= 0 {
		whole = p.size + resp.ContentLength
	}
	source := &sourceReader{r: bundle.WithProgress(body, j.at(w, whole, p.size), j.Events)}
	if err := p.copy(ctx, source, w.Size); err != nil && source.err == nil && ctx.Err() == nil {
		return err // our disk
	}
	switch {
	case source.err != nil || ctx.Err() != nil:
		return &fetchError{host: host, err: fmt.Errorf("after %d bytes: %s: %w", p.size, reason(ctx, source.err), bundle.ErrUnreachable)}
	case p.size < w.Size && resp.ContentLength < 0:
		return &fetchError{host: host, err: fmt.Errorf("ends after %d of %d bytes: %w", p.size, w.Size, bundle.ErrUnreachable)}
	}
	return nil // all that the server says there is; the caller checks it
}

// accept judges the answer and makes p begin where the answer does.
func accept(resp *http.Response, p *partial) error {
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		if p.size > 0 {
			return p.restart() // no ranges here
		}
		return nil
	case code == http.StatusPartialContent:
		first, _, _ := strings.Cut(strings.TrimPrefix(resp.Header.Get("Content-Range"), "bytes "), "-")
		if n, err := strconv.ParseInt(first, 10, 64); err != nil || n != p.size {
			return errors.Join(&fetchError{err: fmt.Errorf("answers another range than asked for: %w", bundle.ErrUnreachable)}, p.restart())
		}
		return nil
	case code == http.StatusRequestedRangeNotSatisfiable:
		return errors.Join(&fetchError{err: fmt.Errorf("%s: %w", resp.Status, bundle.ErrUnreachable)}, p.restart())
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return &fetchError{err: fmt.Errorf("%s: %w", resp.Status, bundle.ErrUnauthorized), final: true}
	case code == http.StatusNotFound || code == http.StatusGone:
		return &fetchError{err: fmt.Errorf("%s: %w", resp.Status, bundle.ErrNotFound), final: true}
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= http.StatusInternalServerError:
		after, _ := httpstream.RetryAfter(resp.Header)
		return &fetchError{err: fmt.Errorf("%s: %w", resp.Status, bundle.ErrUnreachable), after: after}
	}
	return &fetchError{err: fmt.Errorf("%s: %w", resp.Status, bundle.ErrUnreachable), final: true}
}

// reason says why a request ended, without its address.
func reason(ctx context.Context, err error) string {
	if cause := context.Cause(ctx); cause != nil {
		return cause.Error()
	}
	var op interface{ Unwrap() error }
	if errors.As(err, &op) && op.Unwrap() != nil {
		return op.Unwrap().Error() // url.Error repeats the address
	}
	return err.Error()
}

// sourceReader remembers the error of the network, to tell it from one of the
// disk.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
