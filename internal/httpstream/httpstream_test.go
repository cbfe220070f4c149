// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package httpstream_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	date := "Sun, 06 Nov 1994 08:49:37 GMT"
	for value, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, date: 0, "Sun, 06 Nov 1994 08:50:07 GMT": 30 * time.Second, "-1": -1, "": -1, "soon": -1, "99999999999": -1,
	} {
		got, ok := httpstream.RetryAfter(http.Header{"Retry-After": {value}, "Date": {date}})
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %v, %v", value, got, ok)
		}
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		`"api";r=0;t=42`: 42 * time.Second, `"api";r=7;t=42`: -1, `"pages";r=3;t=9, "resolvers"; r=0; t=1`: time.Second,
		`"a";r=0;t=1, "b";r=0;t=300`: 5 * time.Minute, "100;w=21600": -1, "r=0": -1, ";r=0;t=99999999999": -1,
	} {
		got, ok := httpstream.RetryAfter(http.Header{"Ratelimit": {value}})
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %v, %v", value, got, ok)
		}
	}
	if got, ok := httpstream.RetryAfter(http.Header{"Ratelimit": {`"a";r=0;t=300`}, "Retry-After": {"7"}}); !ok || got != 7*time.Second {
		t.Errorf("both: %v, %v", got, ok)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for attempt, most := range map[int]time.Duration{1: 250 * time.Millisecond, 3: time.Second, 6: 8 * time.Second, 1000: 8 * time.Second} {
		if d := httpstream.Backoff(attempt); d < most/2 || d > most {
			t.Errorf("attempt %d: %s", attempt, d)
		}
	}
}

func TestCheckHop(t *testing.T) {
	t.Parallel()
	tests := []struct {
		from, to string
		n        int
		ok       bool
	}{
		{"https://a/x", "https://b/y", 1, true},
		{"http://a/x", "https://b/y", 5, true},
		{"http://a/x", "http://b/y", 1, true},
		{"https://a/x", "http://a/y?secret", 1, false},
		{"https://a/x", "file:///secret", 1, false},
		{"https://a/x", "https://b/y", 6, false},
	}
	for _, test := range tests {
		from, _ := url.Parse(test.from)
		to, _ := url.Parse(test.to)
		err := httpstream.CheckHop(from, to, test.n)
		if (err == nil) != test.ok || err != nil && (!errors.Is(err, httpstream.ErrRedirect) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s to %s: %v", test.from, test.to, err)
		}
	}
}

// TestBegin: the answer to a request for bytes from the third on of ten.
func TestBegin(t *testing.T) {
	t.Parallel()
	const all = "0123456789"
	tests := map[string]struct {
		status    int
		rng, body string
		want      string
		err       error
	}{
		"range":             {http.StatusPartialContent, "bytes 3-9/10", all[3:], all[3:], nil},
		"unknown total":     {http.StatusPartialContent, "bytes 3-9/*", all[3:], all[3:], nil},
		"no ranges":         {http.StatusOK, "", all, all[3:], nil},
		"another size":      {http.StatusOK, "", all + "x", "", bundle.ErrMismatch},
		"another total":     {http.StatusPartialContent, "bytes 3-9/11", all[3:], "", bundle.ErrMismatch},
		"another range":     {http.StatusPartialContent, "bytes 0-9/10", all, "", bundle.ErrInvalid},
		"no range":          {http.StatusPartialContent, "", all, "", bundle.ErrInvalid},
		"a range in blocks": {http.StatusPartialContent, "blocks 3-9/10", all, "", bundle.ErrInvalid},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if test.rng != "" {
					w.Header().Set("Content-Range", test.rng)
				}
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}))
			defer s.Close()
			b, err := httpstream.Get(t.Context(), s.Client(), s.URL, nil, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if err := httpstream.Begin(b, 10, 3); !errors.Is(err, test.err) {
				t.Fatalf("got %v", err)
			}
			if test.err != nil {
				return
			}
			got, err := io.ReadAll(b)
			if diff := cmp.Diff(test.want, string(got)); err != nil || diff != "" {
				t.Error(err, diff)
			}
		})
	}
}

// TestHTTP2Reset: a server that resets a stream over HTTP/2, before its answer or
// in the middle of it, is one that may do better next time.
func TestHTTP2Reset(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begun" {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	for _, path := range []string{"/", "/begun"} {
		b, err := httpstream.Get(t.Context(), s.Client(), s.URL+path, nil, time.Minute)
		if err == nil {
			if b.Response.ProtoMajor != 2 {
				t.Fatal("not over HTTP/2")
			}
			_, err = io.ReadAll(b)
			_ = b.Close()
		}
		if !httpstream.Passing(err) || !httpstream.Cut(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestDrip: N9, a byte now and then is no headway; a reader that takes its time is
// no stall.
func TestDrip(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		piece int           // bytes that come every ten milliseconds
		rest  time.Duration // of the reader, after each
		want  error
	}{
		"drip":        {1, 0, httpstream.ErrStalled},
		"stream":      {8 << 10, 0, io.EOF},
		"slow reader": {8 << 10, time.Second, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, err := httpstream.Get(t.Context(), drips{test.piece, 60}, "http://drips.test/", nil, 300*time.Millisecond)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = b.Close() }()
				for err == nil {
					_, err = b.Read(make([]byte, test.piece))
					time.Sleep(test.rest)
				}
				if !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
			})
		})
	}
}

// drips is a server whose answers come in pieces, ten milliseconds apart.
type drips struct{ size, pieces int }

func (d drips) Do(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(&dripping{req.Context(), d})}, nil
}

type dripping struct {
	ctx context.Context
	drips
}

func (d *dripping) Read(p []byte) (int, error) {
	if d.pieces == 0 {
		return 0, io.EOF
	}
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(10 * time.Millisecond):
		d.pieces--
		return min(d.size, len(p)), nil
	}
}

// TestSource: what a connection that ends early, late or not at all makes of
// the stream (HOSTILE N9, D2).
func TestSource(t *testing.T) {
	t.Parallel()
	const all = "0123456789"
	passing, final := io.ErrUnexpectedEOF, errors.New("final")
	tests := map[string]struct {
		bodies []string // of each connection; "!" is cut before a byte
		want   string
		err    error
	}{
		"whole":        {[]string{all}, all, nil},
		"in parts":     {[]string{all[:3], all[3:4], all[4:]}, all, nil},
		"no luck once": {[]string{all[:3], "!", all[3:]}, all, nil},
		"too little":   {[]string{all[:3], "", "", ""}, all[:3], passing},
		"too much":     {[]string{all + "x"}, "", bundle.ErrMismatch},
		"final":        {[]string{all[:3], "final"}, all[:3], final},
		"silent once":  {[]string{"silent", all}, all, nil},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n, pauses := 0, []int{}
			rc, err := httpstream.Source{
				Size: 10, Tries: 2,
				Connect: func(int64) (io.ReadCloser, error) {
					body := test.bodies[n]
					n++
					switch body {
					case "silent":
						return nil, httpstream.ErrStalled
					case "!":
						return nil, passing
					case "final":
						return nil, final
					}
					return io.NopCloser(strings.NewReader(body)), nil
				},
				Pause: func(attempt int, _ int64, _ error) error { pauses = append(pauses, attempt); return nil },
				Done:  func() bool { return false },
				Fail:  func(err error) error { return err },
			}.Open(0)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(rc)
			if !errors.Is(err, test.err) || string(got) != test.want {
				t.Errorf("%q, %v, pauses %v", got, err, pauses)
			}
			if _, again := rc.Read(make([]byte, 1)); err != nil && !errors.Is(again, err) {
				t.Errorf("then %v", again)
			}
		})
	}
}
