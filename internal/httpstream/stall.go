// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package httpstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// ErrStalled is the cause with which a [Watchdog] cancels a silent connection.
var ErrStalled = errors.New("connection stalled")

// Watchdog cancels a request on which nothing moves for too long. It barks
// only while someone waits: a reader that takes its time is no stall.
type Watchdog struct {
	cancel  context.CancelCauseFunc
	cause   func() error
	timer   *time.Timer
	timeout time.Duration
}

// Watch returns a watchdog on guard and the context that it cancels.
func Watch(ctx context.Context, timeout time.Duration) (context.Context, *Watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &Watchdog{
		cancel:  cancel,
		cause:   func() error { return context.Cause(ctx) },
		timer:   time.AfterFunc(timeout, func() { cancel(ErrStalled) }),
		timeout: timeout,
	}
	return context.WithValue(ctx, watchdogKey{}, w), w
}

// watchdogKey is where a request's context keeps its watchdog, so that a pause
// the server asked for is not taken for a stall.
type watchdogKey struct{}

// waitUnwatched waits while the watchdog of ctx, if it has one, rests.
func waitUnwatched(ctx context.Context, d time.Duration, wait WaitFunc) error {
	if w, ok := ctx.Value(watchdogKey{}).(*Watchdog); ok {
		w.Rest()
		defer w.Guard()
	}
	return wait(ctx, d)
}

// Guard begins to count anew.
func (w *Watchdog) Guard() { w.timer.Reset(w.timeout) }

// GuardFor begins to count anew, this time up to d.
func (w *Watchdog) GuardFor(d time.Duration) { w.timer.Reset(d) }

// Rest ends the count; nobody waits for the server now.
func (w *Watchdog) Rest() { w.timer.Stop() }

// Stop ends the request and its guard.
func (w *Watchdog) Stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// Explain puts the stall in the place of the cancellation that it caused.
func (w *Watchdog) Explain(err error) error {
	if err != nil && errors.Is(w.cause(), ErrStalled) {
		return ErrStalled
	}
	return err
}

// Doer is an HTTP client.
type Doer interface {
	Do(req *http.Request) (*http.Response, error)
}

// leastMoved is how many bytes must come in the time after which a connection is
// given up: a byte now and then would hold its reader for ever.
const leastMoved = 4 << 10

// watched is a body under a watchdog.
type watched struct {
	io.ReadCloser
	dog    *Watchdog
	moved  int           // bytes, since leastMoved of them came
	waited time.Duration // for them
}

// Read implements io.Reader.
func (b *watched) Read(p []byte) (int, error) {
	b.dog.GuardFor(max(b.dog.timeout-b.waited, 0))
	start := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.dog.Rest()
	b.waited += time.Since(start)
	if b.moved += n; b.moved >= leastMoved {
		b.moved, b.waited = 0, 0
	}
	return n, b.dog.Explain(err)
}

// Close implements io.Closer.
func (b *watched) Close() error {
	defer b.dog.Stop()
	return b.ReadCloser.Close()
}

// Body is the body of an answer under a watchdog.
type Body struct {
	Response *http.Response
	*watched
}

// Get sends a GET for bytes as they are and returns the answer, whatever its
// status. Silence of timeout, now or while the body is read, is [ErrStalled]; so is
// a body of which next to nothing comes in that time.
func Get(ctx context.Context, via Doer, address string, header http.Header, timeout time.Duration) (*Body, error) {
	ctx, dog := Watch(ctx, timeout)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		dog.Stop()
		return nil, err
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := via.Do(req) //nolint:bodyclose // Body.Close closes it
	if err != nil {
		dog.Stop()
		return nil, dog.Explain(err)
	}
	dog.Rest()
	return &Body{resp, &watched{ReadCloser: resp.Body, dog: dog}}, nil
}

// Drop closes an answer whose body is of no interest, so that its connection
// can be used again.
func (b *Body) Drop() {
	b.dog.Guard()
	Drain(b.Response.Body)
	b.dog.Stop()
}

// Guard is a transport that gives up silent connections: those that answer a
// request of no body with nothing, and those that stop in the middle of an
// answer. How long a body may take to be sent, and who got it to answer, is the
// sender's business.
type Guard struct {
	Base    http.RoundTripper
	Timeout time.Duration
}

// RoundTrip implements http.RoundTripper. Silence is [ErrStalled].
func (g *Guard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, dog := Watch(req.Context(), g.Timeout)
	if req.Method == http.MethodPut || req.Body != nil && req.Body != http.NoBody {
		dog.Rest() // a registry may hash for long before it answers a PUT
	}
	resp, err := g.Base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		err = dog.Explain(err)
		dog.Stop()
		return nil, err
	}
	dog.Rest()
	resp.Request, resp.Body = req, &watched{ReadCloser: resp.Body, dog: dog}
	return resp, nil
}
