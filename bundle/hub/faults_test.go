// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
	"github.com/metalpack/metalpack/internal/hubtest"
	"github.com/metalpack/metalpack/internal/pipetest"
	"github.com/metalpack/metalpack/internal/regtest"
)

// TestFaults: what goes wrong on the way is mended, or has a name.
func TestFaults(t *testing.T) {
	t.Parallel()
	unavailable := regtest.Fault{Status: http.StatusServiceUnavailable, Times: 2}
	tests := map[string]struct {
		storage []regtest.Fault // of the storage
		api     []regtest.Fault // of the hub, for content
		oneUse  bool
		offset  int64
		want    error
		text    string
		ranges  []string // that the storage was asked for
	}{
		"cut":                      {storage: []regtest.Fault{{CutAfter: 100_000, Times: 2}}, oneUse: true, ranges: []string{"", "bytes=100000-599999", "bytes=200000-599999"}},
		"cut, again and again":     {storage: []regtest.Fault{{CutAfter: 1}}, want: bundle.ErrUnreachable, text: "unexpected EOF"},
		"cut, then no ranges":      {storage: []regtest.Fault{{CutAfter: 100_000, Times: 1}, {IgnoreRange: true}}},
		"no ranges":                {storage: []regtest.Fault{{IgnoreRange: true}}, offset: 599_000},
		"range not satisfiable":    {storage: []regtest.Fault{{Status: http.StatusRequestedRangeNotSatisfiable, Times: 1}}, offset: 1000, ranges: []string{"bytes=1000-599999", ""}},
		"signature expired":        {storage: []regtest.Fault{{Status: http.StatusForbidden, Times: 1}}, ranges: []string{"", ""}},
		"expired after a cut":      {storage: []regtest.Fault{{CutAfter: 9, Times: 1}, {Status: http.StatusForbidden, Times: 3}}},
		"signatures never good":    {storage: []regtest.Fault{{Status: http.StatusForbidden}}, want: bundle.ErrUnavailable, text: "storage behind the hub refuses"},
		"slow down, storage":       {storage: []regtest.Fault{{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3600"}}, Times: 2}}},
		"slow down, hub":           {api: []regtest.Fault{{Status: http.StatusTooManyRequests, Times: 2}}},
		"unavailable, hub":         {api: []regtest.Fault{unavailable}},
		"unavailable, storage":     {storage: []regtest.Fault{unavailable}},
		"gone from the storage":    {storage: []regtest.Fault{{Status: http.StatusNotFound}}, want: bundle.ErrNotFound, text: "model.safetensors: no such file"},
		"shorter":                  {storage: []regtest.Fault{{Truncate: 1000}}, want: bundle.ErrMismatch, text: "has 1000 bytes, want 600000"},
		"redirects for ever":       {api: []regtest.Fault{{Status: http.StatusFound, Header: http.Header{"Location": {"/again"}}}}, want: bundle.ErrInvalid, text: "more than 5 redirects"},
		"redirect to a file":       {api: []regtest.Fault{{Status: http.StatusFound, Header: http.Header{"Location": {"file:///etc/passwd"}}}}, want: bundle.ErrInvalid},
		"redirect to gopher":       {api: []regtest.Fault{{Status: http.StatusFound, Header: http.Header{"Location": {"gopher://x/?X-Signature=1"}}}}, want: bundle.ErrInvalid, text: "gopher://x: redirect refused"},
		"redirect with a password": {api: []regtest.Fault{{Status: http.StatusFound, Header: http.Header{"Location": {"https://user:hf_word@x/"}}}}, want: bundle.ErrInvalid, text: "no usable address"},
		"redirect nowhere":         {api: []regtest.Fault{{Status: http.StatusFound}}, want: bundle.ErrInvalid, text: "no usable address"},
		"content without a commit": {api: []regtest.Fault{{Status: http.StatusOK}}, want: bundle.ErrInvalid, text: "names no commit"},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h, r, rec := open(t)
			h.OneUse = test.oneUse
			for _, f := range test.storage {
				h.Storage.Add(f)
			}
			for _, f := range test.api {
				h.API.Add(f)
			}
			got, err := read(t.Context(), r, "model.safetensors", test.offset)
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Fatalf("got %v, want %v %q", err, test.want, test.text)
			}
			if err == nil && string(got) != string(weights[test.offset:]) {
				t.Errorf("%d bytes", len(got))
			}
			if all := fmt.Sprint(err) + rec.String(); strings.Contains(all, "hf_") || strings.Contains(all, "ignature=") {
				t.Errorf("a secret in %s", all)
			}
			for i, want := range test.ranges {
				if q := h.Storage.Requests("", ""); len(q) != len(test.ranges) || q[i].Header.Get("Range") != want {
					t.Fatalf("request %d of %d: %s, want %q", i, len(q), q[i].Header.Get("Range"), want)
				}
			}
		})
	}
}

// TestStall: headers and a thousand bytes, then silence.
func TestStall(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t)
	h.Add(t, tiny())
	var first atomic.Bool
	next := h.Storage.Next
	h.Storage.Next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first.Swap(true) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(weights)))
		_, _ = w.Write(weights[:1000])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	synctest.Test(t, func(t *testing.T) {
		c, rec := client(h, "")
		c.HTTP = pipetest.Client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host == h.StorageHost() {
				h.Storage.ServeHTTP(w, r)
			} else {
				h.API.ServeHTTP(w, r)
			}
		}))
		r, err := c.Open(t.Context(), hub.Reference{Repo: name})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		got, err := read(t.Context(), r, "model.safetensors", 0)
		if err != nil || string(got) != string(weights) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if rec.Retries() != 1 || !strings.Contains(rec.String(), "stalled") || !strings.Contains(rec.String(), digest.FromBytes(weights).String()) {
			t.Errorf("events %s", rec.String())
		}
		if d := time.Since(begin); d != 30*time.Second {
			t.Errorf("given up after %s", d)
		}
	})
}

// TestChanged: a file that is not what the list said has no first byte, or none
// that verifies.
func TestChanged(t *testing.T) {
	t.Parallel()
	other := regtest.Noise(600_000)
	other[7]++
	change := func(path string, data []byte) func(*testing.T, *hubtest.Hub) {
		return func(t *testing.T, h *hubtest.Hub) {
			t.Helper()
			h.Change(t, name, path, data)
		}
	}
	tests := map[string]struct {
		do   func(t *testing.T, h *hubtest.Hub)
		path string
		text string
	}{
		"weights":         {change("model.safetensors", other), "model.safetensors", "sha256"},
		"weights, longer": {change("model.safetensors", append(other, 1)), "model.safetensors", "size"},
		"small":           {change("config.json", []byte("{\"model_type\": \"other\"}")), "config.json", "git id"},
		"small, its bytes alone": {func(_ *testing.T, h *hubtest.Hub) {
			h.API.Add(regtest.Fault{Path: "config.json", CorruptAt: 5})
		}, "config.json", "git id"},
		"commit": {func(_ *testing.T, h *hubtest.Hub) {
			h.Handle("/"+name+"/resolve/", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Repo-Commit", strings.Repeat("0", 40))
			})
		}, "config.json", "commit"},
		"too long": {func(_ *testing.T, h *hubtest.Hub) {
			commit := h.API.Requests("", "/tree/")[0].Path[len("/api/models/"+name+"/tree/"):]
			h.Handle("/"+name+"/resolve/", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Repo-Commit", commit)
				_ = http.NewResponseController(w).Flush() // no length
				_, _ = w.Write(make([]byte, 100))
			})
		}, "config.json", "more than 23 bytes"},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h, r, _ := open(t)
			test.do(t, h)
			_, err := r.ReadSmall(t.Context(), test.path, 0)
			if !errors.Is(err, bundle.ErrMismatch) || !strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), ": "+test.path+": ") {
				t.Errorf("got %v", err)
			}
			if n := len(h.Storage.Requests("", "")); n != 0 {
				t.Errorf("the storage was asked %d times", n)
			}
		})
	}
}

// TestWrongDigest: the hub itself is wrong about a file; the reader notices.
func TestWrongDigest(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t)
	h.Add(t, hubtest.Repo{Name: name, Files: []hubtest.File{{Path: "model.safetensors", Data: weights, LFS: true, SHA256: strings.Repeat("a", 64)}}})
	c, _ := client(h, "")
	r, err := c.Open(t.Context(), hub.Reference{Repo: name})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadSmall(t.Context(), "model.safetensors", 0); !errors.Is(err, bundle.ErrMismatch) {
		t.Errorf("got %v", err)
	}
}

// TestMoved: the hub keeps small files elsewhere, and knows renamed models.
func TestMoved(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t)
	h.Handle("/api/models/old/name/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(r.URL.Path, "old/name", name, 1), http.StatusTemporaryRedirect)
	})
	c, rec := client(h, "")
	r, err := c.Open(t.Context(), hub.Reference{Repo: "old/name"})
	if err != nil || r.Name() != name || !strings.Contains(rec.String(), "now called "+name) {
		t.Fatalf("%v, %s", err, rec.String())
	}
	if _, err := r.Files(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Handle("/"+name+"/resolve/", func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("X-Repo-Commit", r.Commit())
		http.Redirect(w, q, "/elsewhere", http.StatusTemporaryRedirect)
	})
	h.Handle("/elsewhere", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{\"model_type\": \"llama\"}")) })
	if got, err := r.ReadSmall(t.Context(), "config.json", 0); err != nil || len(got) != 23 {
		t.Errorf("%q, %v", got, err)
	}
}
