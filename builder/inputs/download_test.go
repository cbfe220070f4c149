// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/bundle"
)

// noWait passes no time.
func noWait(context.Context, time.Duration) error { return nil }

func TestResume(t *testing.T) {
	t.Parallel()
	data := content("resume me ", 5<<20)
	for _, ranges := range []bool{true, false} {
		t.Run(fmt.Sprintf("ranges=%v", ranges), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var got []string
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				got = append(got, r.Header.Get("Range"))
				n := len(got)
				mu.Unlock()
				if n == 1 { // breaks off in the middle
					w.Header().Set("Content-Length", strconv.Itoa(len(data)))
					_, _ = w.Write(data[:2<<20])
					panic(http.ErrAbortHandler)
				}
				if n == 2 {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				if !ranges {
					r.Header.Del("Range")
				}
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
			}))
			defer srv.Close()
			w := wheel("demo", data)
			w.URL = srv.URL
			var retries []int
			f := &inputs.Fetcher{Cache: inputs.NewCache(t.TempDir()), Wait: noWait, Events: func(e bundle.Event) {
				if e.Kind == bundle.EventRetry {
					retries = append(retries, e.Attempt)
				}
			}}
			if _, err := f.Fetch(t.Context(), []inputs.Want{w}); err != nil {
				t.Fatal(err)
			}
			if len(got) != 3 || got[0] != "" || got[1] == "" || got[1] != got[2] || !slices.Equal(retries, []int{2, 3}) {
				t.Errorf("ranges %q, retries %v", got, retries)
			}
		})
	}
}

func TestResumeInAnotherProcess(t *testing.T) {
	t.Parallel()
	data := content("later ", 4<<20)
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var first string
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n++
		if n == 1 {
			mu.Unlock()
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			_, _ = w.Write(data[:3<<20])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		first = r.Header.Get("Range")
		mu.Unlock()
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer srv.Close()
	w := wheel("demo", data)
	w.URL = srv.URL
	dir := t.TempDir()
	f := &inputs.Fetcher{Cache: inputs.NewCache(dir), Events: func(e bundle.Event) {
		if e.Kind == bundle.EventProgress && e.Offset >= 2<<20 {
			cancel()
		}
	}}
	if _, err := f.Fetch(ctx, []inputs.Want{w}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want Canceled", err)
	}
	if _, err := (&inputs.Fetcher{Cache: inputs.NewCache(dir)}).Fetch(t.Context(), []inputs.Want{w}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(first, "bytes=") || first == "bytes=0-" {
		t.Errorf("the second run asked for %q", first)
	}
}

// The server says when to come again; what it may ask for has a limit.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	data := content("after ", 1<<10)
	answers := []string{"7", "Wed, 25 Nov 2026 12:00:30 GMT", "1000000000", ""}
	var mu sync.Mutex
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if n++; n <= len(answers) {
			w.Header().Set("Date", "Wed, 25 Nov 2026 12:00:00 GMT")
			w.Header().Set("Retry-After", answers[n-1])
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer srv.Close()
	w := wheel("demo", data)
	w.URL = srv.URL
	var waited []time.Duration
	f := &inputs.Fetcher{Cache: inputs.NewCache(t.TempDir()), Wait: func(_ context.Context, d time.Duration) error {
		waited = append(waited, d)
		return nil
	}}
	check(t, func() error { _, err := f.Fetch(t.Context(), []inputs.Want{w}); return err }())
	if len(waited) != 4 || waited[0] != 7*time.Second || waited[1] != 30*time.Second || waited[2] != 2*time.Minute || waited[3] > 4*time.Second {
		t.Errorf("waited %v", waited)
	}
}

// A file that is shorter, longer or other than the lock says, at its own
// address: both sizes and hashes are named, and nothing is kept.
func TestServerHasAnotherFile(t *testing.T) {
	t.Parallel()
	want := content("right", 1<<16)
	for name, got := range map[string][]byte{"shorter": want[:1<<15], "longer": append(slices.Clone(want), "more"...), "other": content("wrong", 1<<16)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(got))
			}))
			defer srv.Close()
			w := wheel("demo", want)
			w.URL = srv.URL
			cache := inputs.NewCache(t.TempDir())
			_, err := (&inputs.Fetcher{Cache: cache, Wait: noWait}).Fetch(t.Context(), []inputs.Want{w})
			text := fmt.Sprintf("demo 1 (%s): want %d bytes, sha256:%s; got %d bytes, sha256:%s: ", w.File, len(want), w.SHA256, len(got), digest(got))
			if name == "other" {
				text = fmt.Sprintf("want sha256:%s, got sha256:%s: ", w.SHA256, digest(got))
			}
			if !errors.Is(err, bundle.ErrMismatch) || !strings.Contains(err.Error(), text) {
				t.Errorf("got %v, want %q", err, text)
			}
			if left, _ := filepath.Glob(filepath.Join(cache.Dir(), "partial", "*")); len(left) > 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}

// What an earlier run left may be damaged, as after a power failure: then the
// file is fetched from its beginning.
func TestDamagedPartial(t *testing.T) {
	t.Parallel()
	data := content("power ", 1<<16)
	srv, asked := serve(t, map[string][]byte{"demo": data})
	w := wheel("demo", data)
	w.URL = srv.URL + "/demo"
	cache := inputs.NewCache(t.TempDir())
	check(t, os.MkdirAll(filepath.Join(cache.Dir(), "partial"), 0o755))
	check(t, os.WriteFile(filepath.Join(cache.Dir(), "partial", w.SHA256), make([]byte, 1000), 0o644))
	check(t, func() error {
		_, err := (&inputs.Fetcher{Cache: cache, Wait: noWait}).Fetch(t.Context(), []inputs.Want{w})
		return err
	}())
	if n := len(asked()); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// Of two that fetch at once the second waits, is told for whom, and finds the
// file.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	data := content("two ", 1<<16)
	waits := make(chan string, 1)
	began := make(chan struct{})
	var requests atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		close(began)
		waits <- <-waits // until the other waits
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer srv.Close()
	w := wheel("demo", data)
	w.URL = srv.URL
	dir := t.TempDir()
	var g errgroup.Group
	g.Go(func() error {
		_, err := (&inputs.Fetcher{Cache: inputs.NewCache(dir)}).Fetch(t.Context(), []inputs.Want{w})
		return err
	})
	<-began
	g.Go(func() error {
		_, err := (&inputs.Fetcher{Cache: inputs.NewCache(dir), Events: func(e bundle.Event) {
			if e.Kind == bundle.EventNote {
				waits <- e.Reason
			}
		}}).Fetch(t.Context(), []inputs.Want{w})
		return err
	})
	check(t, g.Wait())
	want := fmt.Sprintf("another process (pid %d) is fetching %s; waiting for it", os.Getpid(), w.File)
	if got := <-waits; got != want || requests.Load() != 1 {
		t.Errorf("%d requests, %q", requests.Load(), got)
	}
}

// Events carry what a renderer needs: where an item begins, how far it is, how
// large it is as soon as that is known.
func TestEvents(t *testing.T) {
	t.Parallel()
	data := content("events ", 3<<20)
	srv, _ := serve(t, map[string][]byte{"demo": data})
	links := t.TempDir()
	byURL, byFile := wheel("demo", data), wheel("file", content("file ", 3<<20))
	byURL.Size, byURL.URL = 0, srv.URL+"/demo"
	check(t, os.WriteFile(filepath.Join(links, byFile.File), content("file ", 3<<20), 0o644))
	for _, w := range []inputs.Want{byURL, byFile} {
		var got []bundle.Event
		f := &inputs.Fetcher{Cache: inputs.NewCache(t.TempDir()), FindLinks: []string{links}, Events: func(e bundle.Event) { got = append(got, e) }}
		check(t, func() error { _, err := f.Fetch(t.Context(), []inputs.Want{w}); return err }())
		first, last := got[0], got[len(got)-1]
		if first.Kind != bundle.EventStarted || first.Size != w.Size || last.Kind != bundle.EventDone || last.Offset != last.Size || last.Size < 3<<20 || len(got) < 4 {
			t.Errorf("%s: %v", w.File, got)
		}
		for _, e := range got[1 : len(got)-1] {
			if e.Kind != bundle.EventProgress || e.Size != last.Size || e.Offset <= first.Offset || e.What != w.File {
				t.Errorf("%s: %+v", w.File, e)
			}
		}
	}
}
