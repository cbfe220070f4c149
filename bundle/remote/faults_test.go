// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/pipetest"
	"github.com/metalpack/metalpack/internal/regtest"
)

// TestBlobFaults: what goes wrong with a blob, at the registry and at the storage
// that it sends us to, is mended or has a name.
func TestBlobFaults(t *testing.T) {
	t.Parallel()
	cut := regtest.Fault{CutAfter: 100_000, Times: 1}
	expired := regtest.Fault{Status: http.StatusForbidden, Times: 1}
	noRange := regtest.Fault{Status: http.StatusRequestedRangeNotSatisfiable, Times: 1}
	tests := map[string]struct {
		storage []regtest.Fault
		want    error
		text    string
		ranges  []string // that the storage was asked for
		notes   int
	}{
		"sound":                {ranges: []string{""}},
		"range refused":        {storage: []regtest.Fault{cut, noRange}, ranges: []string{"", "bytes=100000-", ""}, notes: 1},
		"range ignored":        {storage: []regtest.Fault{cut, {IgnoreRange: true}}, ranges: []string{"", "bytes=100000-"}, notes: 1},
		"address expired":      {storage: []regtest.Fault{expired}, ranges: []string{"", ""}},
		"expired after a cut":  {storage: []regtest.Fault{cut, expired}, ranges: []string{"", "bytes=100000-", "bytes=100000-"}},
		"both":                 {storage: []regtest.Fault{cut, expired, noRange}, ranges: []string{"", "bytes=100000-", "bytes=100000-", ""}, notes: 1},
		"addresses never good": {storage: []regtest.Fault{{Status: http.StatusForbidden}}, want: bundle.ErrUnavailable, text: "just signed", ranges: []string{"", ""}},
		"all refused":          {storage: []regtest.Fault{cut, {Status: http.StatusRequestedRangeNotSatisfiable}}, text: "answered 416", ranges: []string{"", "bytes=100000-", ""}},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			layer := regtest.Noise(300_000)
			storage := &regtest.Faulty{Next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(layer))
			})}
			for _, f := range test.storage {
				storage.Add(f)
			}
			where := regtest.Serve(t, storage)
			host := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://"+where+"/blob?X-Signature=secret", http.StatusTemporaryRedirect)
			}))
			r, rec := open(t, host, remote.Options{})
			got, err := read(t.Context(), r, bundle.DescriptorOf(bundle.MediaTypeLayerGzip, layer))
			switch {
			case test.text == "" && (err != nil || !bytes.Equal(got, layer)):
				t.Errorf("%d bytes, %v", len(got), err)
			case test.text != "" && (err == nil || !strings.Contains(err.Error(), test.text) || test.want != nil && !errors.Is(err, test.want)):
				t.Errorf("got %v", err)
			}
			var ranges []string
			for _, q := range storage.Requests("", "") {
				ranges = append(ranges, q.Header.Get("Range"))
			}
			if diff := cmp.Diff(test.ranges, ranges); diff != "" {
				t.Error(diff)
			}
			if notes := strings.Count(rec.String(), "serves no ranges"); notes != test.notes {
				t.Errorf("%d notes in %s", notes, rec)
			}
			if all := fmt.Sprint(err) + rec.String(); strings.Contains(all, "secret") {
				t.Errorf("a secret in %s", all)
			}
		})
	}
}

// TestSilence: an answer, of the registry or of its token server, that stops
// after its header ends every call, and is asked for again where that can help.
func TestSilence(t *testing.T) {
	t.Parallel()
	hang := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	server := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" || strings.HasSuffix(r.URL.Path, "/tags/list") || strings.Contains(r.URL.Path, "/referrers/") {
			hang(w, r)
			return
		}
		w.Header().Set("Www-Authenticate", `Bearer realm="http://localhost/token",service="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	data := regtest.Noise(10)
	manifest := bundle.DescriptorOf(bundle.MediaTypeManifest, data)
	calls := map[string]func(context.Context, *remote.Repository) error{
		"resolve":  func(ctx context.Context, r *remote.Repository) error { _, err := r.Resolve(ctx, "v1"); return err },
		"exists":   func(ctx context.Context, r *remote.Repository) error { _, err := r.Exists(ctx, manifest); return err },
		"manifest": func(ctx context.Context, r *remote.Repository) error { _, err := r.Manifest(ctx, manifest); return err },
		"tags":     func(ctx context.Context, r *remote.Repository) error { _, err := r.Tags(ctx); return err },
		"referrers": func(ctx context.Context, r *remote.Repository) error {
			_, err := r.Referrers(ctx, manifest)
			return err
		},
		"tag": func(ctx context.Context, r *remote.Repository) error { return r.Tag(ctx, manifest, "v1") },
		"push": func(ctx context.Context, r *remote.Repository) error {
			return r.Push(ctx, manifest, bundle.BytesOpener(data))
		},
	}
	for what, call := range calls {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, _ := open(t, "localhost", remote.Options{Client: pipetest.Client(t, server), Retries: -1})
				begin := time.Now()
				if err := call(t.Context(), r); !errors.Is(err, bundle.ErrUnreachable) || !strings.Contains(err.Error(), "stalled") {
					t.Errorf("got %v", err)
				}
				if d := time.Since(begin); d != remote.DefaultStallTimeout {
					t.Errorf("given up after %s", d)
				}
			})
		})
	}
}

// TestNoHead: a registry that does not serve HEAD, or says too little in it.
func TestNoHead(t *testing.T) {
	t.Parallel()
	tests := map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"refused": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return true
		},
		"no digest": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", bundle.MediaTypeManifest)
			w.Header().Set("Content-Length", "100")
			return !strings.Contains(r.URL.Path, "/blobs/")
		},
		"no size": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", bundle.MediaTypeManifest)
			w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("a", 64))
			w.Header().Set("Transfer-Encoding", "chunked")
			return !strings.Contains(r.URL.Path, "/blobs/")
		},
	}
	for what, head := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			next := regtest.Handler(t)
			r, _ := open(t, regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead && head(w, r) {
					return
				}
				next.ServeHTTP(w, r)
			})), remote.Options{})
			manifest, _ := pushImage(t, r, regtest.Noise(1000), "v1")
			for _, name := range []string{"v1", manifest.Digest.String()} {
				got, err := r.Resolve(t.Context(), name)
				if diff := cmp.Diff(manifest, got); err != nil || diff != "" {
					t.Errorf("%s: %v, %s", name, err, diff)
				}
			}
			if _, err := r.Resolve(t.Context(), "v2"); !errors.Is(err, bundle.ErrNotFound) {
				t.Errorf("no such tag: %v", err)
			}
		})
	}
}

// TestPortal: whoever answers everything with a page is no registry.
func TestPortal(t *testing.T) {
	t.Parallel()
	for _, refuses := range []string{"none", http.MethodHead} {
		r, _ := open(t, regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == refuses {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<html>log in</html>")
		})), remote.Options{})
		if _, err := r.Resolve(t.Context(), "v1"); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "a portal") {
			t.Errorf("%s: %v", refuses, err)
		}
	}
}

// TestTokenEnds: every token opens three requests, so they end in the middle of
// everything.
func TestTokenEnds(t *testing.T) {
	t.Parallel()
	next, tokens, uses := regtest.Handler(t), atomic.Int64{}, atomic.Int64{}
	token := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		uses.Store(0)
		_, _ = fmt.Fprintf(w, `{"token":"token-%d"}`, tokens.Add(1))
	}))
	host := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != fmt.Sprintf("Bearer token-%d", tokens.Load()) || uses.Add(1) > 3 {
			w.Header().Set("Www-Authenticate", `Bearer realm="http://`+token+`/token",service="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}))
	r, _ := open(t, host, remote.Options{})
	for i := range 5 {
		layer := append(regtest.Noise(100_000), byte(i))
		manifest, blob := pushImage(t, r, layer, fmt.Sprintf("v%d", i))
		if got, err := read(t.Context(), r, blob); err != nil || !bytes.Equal(got, layer) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if got, err := r.Resolve(t.Context(), fmt.Sprintf("v%d", i)); err != nil || got.Digest != manifest.Digest {
			t.Errorf("%v, %v", got, err)
		}
	}
	if n := tokens.Load(); n < 5 {
		t.Errorf("%d tokens", n)
	}
}

// TestWhoIsThere: a server whose certificate nobody knows, one without TLS, a
// redirect that is refused: the message names the host, no address, and what to
// do.
func TestWhoIsThere(t *testing.T) {
	t.Parallel()
	strange := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(strange.Close)
	trusting := strange.Client().Transport
	away := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://elsewhere.invalid/?X-Signature=secret", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(away.Close)
	plain := regtest.New(t)
	for what, tt := range map[string]struct {
		host      string
		transport http.RoundTripper
		text      string
		hint      string
	}{
		"unknown certificate": {strings.TrimPrefix(strange.URL, "https://"), &http.Transport{}, "certificate", "--ca-file"},
		"no TLS":              {plain, trusting, "HTTP response to HTTPS client", "--plain-http"},
		"less safe":           {strings.TrimPrefix(away.URL, "https://"), away.Client().Transport, "redirect refused", ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			// localhost is plain unless certificates are named; the name is none of its.
			host := strings.Replace(tt.host, "127.0.0.1", "registry.test", 1)
			r, _ := open(t, host, remote.Options{Client: &http.Client{Transport: &dialer{tt.transport, tt.host}}})
			_, err := read(t.Context(), r, bundle.DescriptorOf(bundle.MediaTypeLayerGzip, []byte("x")))
			if err == nil || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), `"https://`) {
				t.Fatalf("got %v", err)
			}
			var hinted interface {
				error
				Hint() string
			}
			if !errors.As(err, &hinted) || (tt.hint == "") != (hinted.Hint() == "") || !strings.Contains(hinted.Hint(), tt.hint) {
				t.Errorf("hint of %v", err)
			}
		})
	}
}

// dialer sends requests for any host to one.
type dialer struct {
	next http.RoundTripper
	host string
}

func (d *dialer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Host = d.host
	return d.next.RoundTrip(req)
}

// TestLimit: a registry that was asked too often says how to be allowed more.
func TestLimit(t *testing.T) {
	t.Parallel()
	_, host := regtest.NewFaulty(t, regtest.Fault{Status: http.StatusTooManyRequests})
	r, rec := open(t, host, remote.Options{})
	_, err := r.Resolve(t.Context(), "v1")
	var hinted interface {
		error
		Hint() string
	}
	if !errors.Is(err, bundle.ErrUnavailable) || !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "docker login "+host) {
		t.Errorf("got %v", err)
	}
	if rec.Retries() != remote.DefaultRetries {
		t.Errorf("%d retries", rec.Retries())
	}
}
