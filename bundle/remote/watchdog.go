// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// errStalled is the cause with which a watchdog cancels a silent connection.
var errStalled = errors.New("connection stalled")

// waitFunc passes time, or returns the reason why not.
type waitFunc func(ctx context.Context, d time.Duration) error

// watchdog cancels a request on which nothing moves for too long. It barks
// only while someone waits: a reader that takes its time is no stall.
type watchdog struct {
	cancel  context.CancelCauseFunc
	cause   func() error
	timer   *time.Timer
	timeout time.Duration
}

// newWatchdog returns a watchdog on guard and the context that it cancels.
func newWatchdog(ctx context.Context, timeout time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{
		cancel:  cancel,
		cause:   func() error { return context.Cause(ctx) },
		timer:   time.AfterFunc(timeout, func() { cancel(errStalled) }),
		timeout: timeout,
	}
	return context.WithValue(ctx, watchdogKey{}, w), w
}

// watchdogKey is where a request's context keeps its watchdog, so that a pause
// the server asked for is not taken for a stall.
type watchdogKey struct{}

// waitUnwatched waits while the watchdog of ctx, if it has one, rests.
func waitUnwatched(ctx context.Context, d time.Duration, wait waitFunc) error {
	if w, ok := ctx.Value(watchdogKey{}).(*watchdog); ok {
		w.rest()
		defer w.guard()
	}
	return wait(ctx, d)
}

func (w *watchdog) guard() { w.timer.Reset(w.timeout) }
func (w *watchdog) rest()  { w.timer.Stop() }

// stop ends the request and its guard.
func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// explain puts the stall in the place of the cancellation that it caused.
func (w *watchdog) explain(err error) error {
	if err != nil && errors.Is(w.cause(), errStalled) {
		return errStalled
	}
	return err
}

// watched is the body of an answer under a watchdog.
type watched struct {
	resp *http.Response
	dog  *watchdog
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	w.dog.guard()
	n, err := w.resp.Body.Read(p)
	w.dog.rest()
	return n, w.dog.explain(err)
}

// Close implements io.Closer.
func (w *watched) Close() error {
	defer w.dog.stop()
	return w.resp.Body.Close()
}
