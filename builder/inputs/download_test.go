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
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

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
