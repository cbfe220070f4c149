// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/pipetest"
	"github.com/metalpack/metalpack/internal/regtest"
)

// breaking is a registry whose connections break after so many bytes of an upload:
// the first, the second and so on. busy instead of a number is a registry that
// takes nothing now.
type breaking struct {
	next  http.Handler
	after []int64
	got   atomic.Int64 // bytes of all uploads
	broke atomic.Int64
	gone  atomic.Int64 // how many questions for the state of an upload break, too
}

const busy = -http.StatusServiceUnavailable

func (b *breaking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/uploads/") && b.gone.Add(-1) >= 0 {
		panic(http.ErrAbortHandler)
	}
	if r.ContentLength <= 0 || r.Method != http.MethodPut && r.Method != http.MethodPatch {
		b.next.ServeHTTP(w, r)
		return
	}
	body := r.Body
	limit, cut := r.ContentLength, false
	if n := b.broke.Add(1); int(n) <= len(b.after) {
		limit, cut = b.after[n-1], true
	}
	if limit == busy {
		_, _ = io.Copy(io.Discard, body)
		w.WriteHeader(-busy)
		return
	}
	r.Body = io.NopCloser(io.TeeReader(io.LimitReader(body, limit), counter{&b.got}))
	if !cut {
		b.next.ServeHTTP(w, r)
		return
	}
	b.next.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler) // net/http breaks the connection
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// sent makes one blob of data in each of the ways that there are.
func sent(t *testing.T, way string, r *remote.Repository, data []byte) error {
	t.Helper()
	desc := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, data)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	read := 0
	switch way {
	case "file":
		return r.Push(t.Context(), desc, func(context.Context) (io.ReadCloser, error) {
			f, err := os.Open(file)
			return bundle.WithProgress(knownFile{f, &read}, bundle.Event{}, nil), err
		})
	case "stream":
		return r.Push(t.Context(), desc, bundle.BytesOpener(data))
	}
	d, err := r.Ingest(t.Context(), "file", desc.Size, bundle.BytesOpener(data))
	if err == nil && d != desc.Digest {
		t.Errorf("digest %s, want %s", d, desc.Digest)
	}
	return err
}

// TestUploadGoesOn: an upload that breaks goes on behind what the registry has of
// it, as often as it makes headway; one of which the registry knows nothing, or
// does not take the rest, is begun again.
func TestUploadGoesOn(t *testing.T) {
	t.Parallel()
	const mega, size = 1 << 20, 3 << 20
	status := func(f regtest.Fault) regtest.Fault {
		f.Method, f.Path = http.MethodGet, "/uploads/"
		return f
	}
	tests := map[string]struct {
		size   int     // 0 = size
		after  []int64 // of each upload
		tries  int     // of requests; 0 = the default
		gone   int64   // questions that get no answer
		faults []regtest.Fault
		most   int64 // bytes that travel
		posts  int
	}{
		"once":                  {after: []int64{2 * mega}, most: size, posts: 1},
		"at the end":            {after: []int64{size}, most: size, posts: 1},
		"with headway":          {size: 40 * mega, tries: -1, after: []int64{9 * mega, 9 * mega, 9 * mega, 9 * mega}, most: 40 * mega, posts: 1},
		"before a byte":         {after: []int64{0}, most: size, posts: 2},
		"away for a while":      {after: []int64{2 * mega}, gone: 2 * (1 + remote.DefaultRetries), most: size, posts: 1},
		"busy":                  {after: []int64{2 * mega, busy}, most: size, posts: 1},
		"unknown to the status": {after: []int64{2 * mega}, faults: []regtest.Fault{status(regtest.Fault{Status: http.StatusNotFound})}, most: 5 * mega, posts: 2},
		"more than was sent":    {after: []int64{2 * mega}, faults: []regtest.Fault{status(regtest.Fault{Status: http.StatusNoContent, Header: http.Header{"Range": {"0-99999999"}}})}, most: 5 * mega, posts: 2},
		"nonsense":              {after: []int64{2 * mega}, faults: []regtest.Fault{status(regtest.Fault{Status: http.StatusNoContent, Header: http.Header{"Range": {"bytes=-7"}}})}, most: 5 * mega, posts: 2},
		"lost on the way": {after: []int64{2 * mega}, faults: []regtest.Fault{
			status(regtest.Fault{Status: http.StatusNoContent, Times: 1, Header: http.Header{"Range": {"0-2097151"}}}),
			status(regtest.Fault{Status: http.StatusNoContent, Header: http.Header{"Range": {"0-999"}}}),
		}, most: 6 * mega, posts: 2},
		"less than it has": {after: []int64{2 * mega}, faults: []regtest.Fault{status(regtest.Fault{Status: http.StatusNoContent, Header: http.Header{"Range": {"0-999"}}})}, most: 6 * mega, posts: 2},
	}
	for what, test := range tests {
		data := regtest.Noise(max(test.size, size))
		for _, way := range []string{"stream", "file", "ingest"} {
			t.Run(what+", "+way, func(t *testing.T) {
				t.Parallel()
				b := &breaking{next: regtest.Handler(t), after: test.after}
				b.gone.Store(test.gone)
				f := &regtest.Faulty{Next: b}
				for _, fault := range test.faults {
					f.Add(fault)
				}
				r, rec := open(t, regtest.Serve(t, f), remote.Options{Retries: test.tries})
				if err := sent(t, way, r, data); err != nil {
					t.Fatalf("%v, %s", err, rec)
				}
				checkRanges(t, f, len(data))
				if got, err := read(t.Context(), r, bundle.DescriptorOf(bundle.MediaTypeLayerGzip, data)); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d bytes came back, %v", len(got), err)
				}
				if n := b.got.Load(); n > test.most {
					t.Errorf("%d bytes travelled, want at most %d", n, test.most)
				}
				if n := len(f.Requests(http.MethodPost, "")); n != test.posts {
					t.Errorf("%d uploads were begun, want %d: %s", n, test.posts, rec)
				}
			})
		}
	}
}

// checkRanges: an upload that goes on says where, and up to where.
func checkRanges(t *testing.T, f *regtest.Faulty, size int) {
	t.Helper()
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		for _, q := range f.Requests(method, "/uploads/") {
			length, _ := strconv.Atoi(q.Header.Get("Content-Length"))
			want := ""
			if length > 0 && length < size {
				want = fmt.Sprintf("%d-%d", size-length, size-1)
			}
			if got := q.Header.Get("Content-Range"); got != want {
				t.Errorf("%s of %d bytes: range %q, want %q", method, length, got, want)
			}
		}
	}
}

// TestUploadGivesUp: an upload that makes no headway ends.
func TestUploadGivesUp(t *testing.T) {
	t.Parallel()
	data := regtest.Noise(3 << 20)
	for _, way := range []string{"stream", "file", "ingest"} {
		b := &breaking{next: regtest.Handler(t), after: make([]int64, 100)}
		for i := range b.after {
			b.after[i] = 1000
		}
		r, rec := open(t, regtest.Serve(t, b), remote.Options{})
		if err := sent(t, way, r, data); err == nil || rec.Retries() != 9 {
			t.Errorf("%s: %v, %s", way, err, rec)
		}
	}
}

// TestUploadStalls: a registry that takes no more bytes is left soon; one that has
// them all is waited for.
func TestUploadStalls(t *testing.T) {
	t.Parallel()
	data := regtest.Noise(3 << 20)
	for _, way := range []string{"stream", "file", "ingest"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			next := regtest.Handler(t)
			synctest.Test(t, func(t *testing.T) {
				over := make(chan struct{})
				var silent, slow atomic.Bool
				client := pipetest.Client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case r.ContentLength > 0 && !silent.Swap(true):
						_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
						<-over
						return
					case r.Method == http.MethodPut && !slow.Swap(true):
						body, err := io.ReadAll(r.Body)
						if err != nil {
							panic(http.ErrAbortHandler)
						}
						r.Body = io.NopCloser(bytes.NewReader(body))
						time.Sleep(9 * time.Minute) // it hashes
					}
					next.ServeHTTP(w, r)
				}))
				t.Cleanup(func() { close(over) })
				r, rec := open(t, "localhost", remote.Options{Client: client})
				begin := time.Now()
				if err := sent(t, way, r, data); err != nil {
					t.Fatalf("%v, %s", err, rec)
				}
				if !strings.Contains(rec.String(), "stalled") || rec.Retries() != 1 {
					t.Errorf("events %s", rec)
				}
				if d := time.Since(begin) - 9*time.Minute; d.Truncate(time.Second) != 2*remote.DefaultStallTimeout {
					t.Errorf("the silent one was left after %s", d)
				}
			})
		})
	}
}
