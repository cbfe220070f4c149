// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package httpstream

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/metalpack/metalpack/bundle"
)

// Defaults and caps.
const (
	DefaultRetries      = 5
	DefaultStallTimeout = 30 * time.Second
	MaxRetryAfter       = time.Minute // the longest pause a server can ask for
)

// Patience is how many connections may fail in a row in the middle of a transfer
// whose requests are repeated so often: twice as many, because a network that
// changes takes half a minute, and much is lost then.
func Patience(retries int) int { return 2 * retries }

// WaitFunc passes time, or returns the reason why not.
type WaitFunc func(ctx context.Context, d time.Duration) error

// Retry is a transport that repeats requests whose body can be sent again.
type Retry struct {
	Base    http.RoundTripper
	Retries int              // after the first try
	Wait    WaitFunc         // between two tries
	Events  bundle.EventFunc // nil = none
}

// RoundTrip implements http.RoundTripper.
func (t *Retry) RoundTrip(req *http.Request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		resp, err := t.Base.RoundTrip(req)
		reason := retryReason(req, resp, err)
		if reason == "" || attempt > t.Retries {
			return resp, err
		}
		next, ok := rewind(req)
		if !ok {
			return resp, err
		}
		pause := Backoff(attempt)
		if resp != nil {
			if after, ok := RetryAfter(resp.Header); ok {
				pause = min(after, MaxRetryAfter)
				reason += ", asked to wait " + after.String()
			}
			Drain(resp.Body)
		}
		t.Events.Emit(bundle.Event{Kind: bundle.EventRetry, What: req.URL.Host, Attempt: attempt + 1, Reason: reason})
		if err := waitUnwatched(req.Context(), pause, t.Wait); err != nil {
			return nil, err
		}
		req = next
	}
}

// rewind returns a request that can be sent again, or false.
func rewind(req *http.Request) (*http.Request, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	req = req.Clone(req.Context())
	req.Body = body
	return req, true
}

// retryReason says why a request is worth another try; "" if it is not. A
// refused connection or an unknown name is not: waiting seldom helps, and the
// user who mistyped a host should know at once.
func retryReason(req *http.Request, resp *http.Response, err error) string {
	if err == nil {
		switch resp.StatusCode {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return resp.Status
		}
		return ""
	}
	var timeout net.Error
	switch {
	case req.Context().Err() != nil:
		return ""
	case errors.As(err, &timeout) && timeout.Timeout(),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, ErrStalled),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), isDropped(err):
		return err.Error()
	}
	return ""
}

// RetryAfter reads how long the server asks us to stay away. Retry-After is
// seconds or a date, which is measured against the server's own clock; where there
// is none, RateLimit, as the Hugging Face hub sends it, says when a quota that is
// used up is filled again. False means that neither says so.
func RetryAfter(h http.Header) (time.Duration, bool) {
	v := h.Get("Retry-After")
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(s) * time.Second, true
	}
	then, err := http.ParseTime(v)
	if err != nil {
		return quotaReset(h.Get("RateLimit"))
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(then.Sub(now), 0), true
}

// usedUp finds the seconds in a quota of which nothing is left, like
// "api";r=0;t=42.
var usedUp = regexp.MustCompile(`;\s*r=0\s*;\s*t=([0-9]{1,9})\b`)

func quotaReset(limits string) (wait time.Duration, ok bool) {
	for _, m := range usedUp.FindAllStringSubmatch(limits, -1) {
		s, _ := strconv.Atoi(m[1]) // nine digits fit
		wait, ok = max(wait, time.Duration(s)*time.Second), true
	}
	return wait, ok
}

// RequestID is the name that a server, or what stands before it, gave to a request
// in whose answer it failed: its operators find it by that. It is text from
// outside; "" = none, or no failure.
func RequestID(resp *http.Response) string {
	if resp.StatusCode < http.StatusInternalServerError {
		return ""
	}
	for _, name := range []string{"X-Request-Id", "X-Amz-Request-Id", "X-Amz-Cf-Id", "Cf-Ray"} {
		if id := resp.Header.Get(name); id != "" {
			return id
		}
	}
	return ""
}

// Wait waits d or until ctx is done.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// Backoff is how long to wait before try attempt+1: from 0.25 s, doubling to
// 8 s, half of it by chance so that many clients do not come back together.
func Backoff(attempt int) time.Duration {
	d := min(250*time.Millisecond<<min(attempt-1, 10), 8*time.Second)
	return d/2 + rand.N(d/2+1) //nolint:gosec // G404: jitter is no secret
}

// Drain gives a connection back to its pool by reading a little of what is
// left.
func Drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10) // at worst the connection is not reused
	_ = body.Close()                          // it was only read
}
