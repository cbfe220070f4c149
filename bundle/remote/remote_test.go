// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/regtest"
)

// recorder collects events and waits without waiting.
type recorder struct {
	mu     sync.Mutex
	events []bundle.Event
	waits  []time.Duration
}

func (r *recorder) emit(e bundle.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) wait(ctx context.Context, d time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits = append(r.waits, d)
	return ctx.Err()
}

func (r *recorder) retries() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, e := range r.events {
		if e.Kind == bundle.EventRetry {
			n++
		}
	}
	return n
}

func open(t *testing.T, host string, o remote.Options) (*remote.Repository, *recorder) {
	t.Helper()
	rec := &recorder{}
	o.Events, o.Wait = rec.emit, rec.wait
	if o.Credentials == nil {
		o.Credentials = credentials.NewMemoryStore()
	}
	ref, err := bundle.ParseSource(host+"/org/name", "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := remote.Open(ref, o)
	if err != nil {
		t.Fatal(err)
	}
	return r, rec
}

// noise is data that no other offset resembles.
func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

func push(t *testing.T, r *remote.Repository, mediaType string, data []byte) bundle.Descriptor {
	t.Helper()
	desc := bundle.DescriptorOf(mediaType, data)
	if err := r.Push(t.Context(), desc, bundle.BytesOpener(data)); err != nil {
		t.Fatal(err)
	}
	return desc
}

// pushImage pushes a manifest with one layer and tags it.
func pushImage(t *testing.T, r *remote.Repository, layer []byte, tag string) (manifest, blob bundle.Descriptor) {
	t.Helper()
	blob = push(t, r, bundle.MediaTypeLayerGzip, layer)
	m := ocispec.Manifest{MediaType: bundle.MediaTypeManifest, Config: push(t, r, bundle.MediaTypeConfig, []byte("{}")), Layers: []bundle.Descriptor{blob}}
	m.SchemaVersion = 2
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	manifest = push(t, r, bundle.MediaTypeManifest, data)
	if err := r.Tag(t.Context(), manifest, tag); err != nil {
		t.Fatal(err)
	}
	return manifest, blob
}

func read(ctx context.Context, r *remote.Repository, desc bundle.Descriptor) ([]byte, error) {
	rc, err := r.Open(ctx, desc, 0)
	if err != nil {
		return nil, err
	}
	data, err := bundle.ReadVerified(rc, desc)
	return data, errors.Join(err, rc.Close())
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r, _ := open(t, regtest.New(t), remote.Options{})
	layer := noise(300_000)
	manifest, blob := pushImage(t, r, layer, "v1")
	for _, name := range []string{"v1", manifest.Digest.String()} {
		got, err := r.Resolve(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(manifest, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if _, err := r.Manifest(t.Context(), manifest); err != nil {
		t.Error(err)
	}
	for _, offset := range []int64{0, 1, 299_999, 300_000} {
		rc, err := r.Open(t.Context(), blob, offset)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(rc)
		if err != nil || !bytes.Equal(got, layer[offset:]) {
			t.Errorf("offset %d: %d bytes, %v", offset, len(got), err)
		}
		_ = rc.Close()
	}
	for _, d := range []bundle.Descriptor{manifest, blob} {
		if ok, err := r.Exists(t.Context(), d); err != nil || !ok {
			t.Errorf("exists %s: %v, %v", d.Digest, ok, err)
		}
	}
	gone := bundle.DescriptorOf(bundle.MediaTypeConfig, []byte("gone"))
	if ok, err := r.Exists(t.Context(), gone); err != nil || ok {
		t.Errorf("exists: %v, %v", ok, err)
	}
}

func TestReferrers(t *testing.T) {
	t.Parallel()
	r, _ := open(t, regtest.New(t), remote.Options{})
	subject, _ := pushImage(t, r, noise(10), "v1")
	if got, err := r.Referrers(t.Context(), subject); err != nil || len(got) != 0 {
		t.Errorf("before: %v, %v", got, err)
	}
	m := ocispec.Manifest{MediaType: bundle.MediaTypeManifest, ArtifactType: "application/x.note", Config: push(t, r, bundle.MediaTypeConfig, []byte("{}")), Layers: []bundle.Descriptor{}, Subject: &subject}
	m.SchemaVersion = 2
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	note := push(t, r, bundle.MediaTypeManifest, data)
	got, err := r.Referrers(t.Context(), subject)
	if err != nil || len(got) != 1 || got[0].Digest != note.Digest || got[0].ArtifactType != "application/x.note" {
		t.Errorf("after: %v, %v", got, err)
	}
}

// TestResume cuts a blob three times; the stream goes on from the byte it had.
func TestResume(t *testing.T) {
	t.Parallel()
	f, host := regtest.NewFaulty(t)
	r, rec := open(t, host, remote.Options{})
	layer := noise(600_000)
	blob := push(t, r, bundle.MediaTypeLayerGzip, layer)
	f.Add(regtest.Fault{Method: http.MethodGet, Path: "/blobs/sha256:", CutAfter: 100_000, Times: 3})
	got, err := read(t.Context(), r, blob)
	if err != nil || !bytes.Equal(got, layer) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	var ranges []string
	for _, q := range f.Requests(http.MethodGet, "/blobs/") {
		ranges = append(ranges, q.Header.Get("Range"))
		if q.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("Accept-Encoding %q", q.Header.Get("Accept-Encoding"))
		}
	}
	if diff := cmp.Diff([]string{"", "bytes=100000-", "bytes=200000-", "bytes=300000-"}, ranges); diff != "" {
		t.Error(diff)
	}
	if rec.retries() != 3 || rec.events[0].Offset != 100_000 || rec.events[0].Digest != blob.Digest.String() {
		t.Errorf("events %+v", rec.events)
	}
}

// TestResumeRangeIgnored resumes from a server that begins at 0 every time.
func TestResumeRangeIgnored(t *testing.T) {
	t.Parallel()
	f, host := regtest.NewFaulty(t)
	r, _ := open(t, host, remote.Options{})
	layer := noise(200_000)
	blob := push(t, r, bundle.MediaTypeLayerGzip, layer)
	f.Add(regtest.Fault{Method: http.MethodGet, Path: "/blobs/sha256:", CutAfter: 50_000, Times: 1})
	f.Add(regtest.Fault{Method: http.MethodGet, Path: "/blobs/sha256:", IgnoreRange: true})
	got, err := read(t.Context(), r, blob)
	if err != nil || !bytes.Equal(got, layer) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	rc, err := r.Open(t.Context(), blob, 199_990)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, layer[199_990:]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestGivesUp(t *testing.T) {
	t.Parallel()
	f, host := regtest.NewFaulty(t)
	r, rec := open(t, host, remote.Options{Retries: 2})
	blob := push(t, r, bundle.MediaTypeLayerGzip, noise(5000))
	f.Add(regtest.Fault{Method: http.MethodGet, Path: "/blobs/sha256:", CutAfter: 1})
	if _, err := read(t.Context(), r, blob); !errors.Is(err, bundle.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	if rec.retries() != 2 {
		t.Errorf("%d retries", rec.retries())
	}
}

func TestWrongBytes(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]regtest.Fault{
		"one bit":   {CorruptAt: 1234},
		"truncated": {Truncate: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, host := regtest.NewFaulty(t)
			r, _ := open(t, host, remote.Options{})
			blob := push(t, r, bundle.MediaTypeLayerGzip, noise(5000))
			fault.Method, fault.Path = http.MethodGet, "/blobs/sha256:"
			f.Add(fault)
			if _, err := read(t.Context(), r, blob); !errors.Is(err, bundle.ErrMismatch) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestManifestWrongBytes(t *testing.T) {
	t.Parallel()
	f, host := regtest.NewFaulty(t)
	r, _ := open(t, host, remote.Options{})
	manifest, _ := pushImage(t, r, noise(10), "v1")
	f.Add(regtest.Fault{Method: http.MethodGet, Path: "/manifests/", CorruptAt: 20})
	if _, err := r.Manifest(t.Context(), manifest); !errors.Is(err, bundle.ErrMismatch) {
		t.Errorf("got %v", err)
	}
	manifest.Size = bundle.MaxManifest + 1
	if _, err := r.Manifest(t.Context(), manifest); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("too large: got %v", err)
	}
}

// TestBusy answers 503 and 429, with and without Retry-After.
func TestBusy(t *testing.T) {
	t.Parallel()
	f, host := regtest.NewFaulty(t)
	r, rec := open(t, host, remote.Options{})
	layer := noise(5000)
	manifest, blob := pushImage(t, r, layer, "v1")
	f.Add(regtest.Fault{Path: "/v1$", Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"7"}}, Times: 1})
	f.Add(regtest.Fault{Path: "/blobs/sha256:", Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1000000000"}}, Times: 1})
	f.Add(regtest.Fault{Path: "/blobs/sha256:", Status: http.StatusBadGateway, Times: 1})
	if got, err := r.Resolve(t.Context(), "v1"); err != nil || got.Digest != manifest.Digest {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := read(t.Context(), r, blob); err != nil || !bytes.Equal(got, layer) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if len(rec.waits) != 3 || rec.waits[0] != 7*time.Second || rec.waits[1] != time.Minute || rec.waits[2] > time.Second {
		t.Errorf("waits %v", rec.waits)
	}
}

func TestBusyForEver(t *testing.T) {
	t.Parallel()
	_, host := regtest.NewFaulty(t, regtest.Fault{Status: http.StatusServiceUnavailable})
	r, rec := open(t, host, remote.Options{Retries: 1})
	_, err := r.Resolve(t.Context(), "v1")
	if err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), host) || rec.retries() != 1 {
		t.Errorf("%d retries, %v", rec.retries(), err)
	}
}

// TestStall gives up a silent connection, and tries again.
func TestStall(t *testing.T) {
	t.Parallel()
	f, host := regtest.NewFaulty(t)
	r, rec := open(t, host, remote.Options{StallTimeout: 200 * time.Millisecond})
	layer := noise(5000)
	blob := push(t, r, bundle.MediaTypeLayerGzip, layer)
	f.Add(regtest.Fault{Method: http.MethodGet, Path: "/blobs/sha256:", CutAfter: 1000, Times: 1})
	f.Add(regtest.Fault{Method: http.MethodGet, Path: "/blobs/sha256:", Hang: true, Times: 1})
	got, err := read(t.Context(), r, blob)
	if err != nil || !bytes.Equal(got, layer) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if n := rec.retries(); n != 2 || !strings.Contains(rec.events[1].Reason, "stalled") {
		t.Errorf("events %+v", rec.events)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	_, host := regtest.NewFaulty(t, regtest.Fault{Hang: true})
	r, _ := open(t, host, remote.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := r.Resolve(ctx, "v1"); !errors.Is(err, context.Canceled) || errors.Is(err, bundle.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status int
		want   error
	}{
		"401": {http.StatusUnauthorized, bundle.ErrUnauthorized},
		"403": {http.StatusForbidden, bundle.ErrUnauthorized},
		"404": {http.StatusNotFound, bundle.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, host := regtest.NewFaulty(t, regtest.Fault{Status: tt.status})
			r, _ := open(t, host, remote.Options{})
			data := noise(10)
			blob := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, data)
			manifest := bundle.DescriptorOf(bundle.MediaTypeManifest, data)
			_, resolve := r.Resolve(t.Context(), "v1")
			_, fetch := r.Manifest(t.Context(), manifest)
			_, open := r.Open(t.Context(), blob, 0)
			push := r.Push(t.Context(), blob, bundle.BytesOpener(data))
			for what, err := range map[string]error{"resolve": resolve, "manifest": fetch, "open": open, "push": push} {
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), host+"/org/name") {
					t.Errorf("%s: got %v", what, err)
				}
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	r, rec := open(t, host, remote.Options{})
	_, err = r.Resolve(t.Context(), "v1")
	if !errors.Is(err, bundle.ErrUnreachable) || !strings.Contains(err.Error(), host) || rec.retries() != 0 {
		t.Errorf("%d retries, %v", rec.retries(), err)
	}
	r, _ = open(t, "registry.invalid", remote.Options{})
	if _, err = r.Resolve(t.Context(), "v1"); !errors.Is(err, bundle.ErrUnreachable) || !strings.Contains(err.Error(), "registry.invalid") {
		t.Errorf("got %v", err)
	}
}

// TestPushAgain loses the upload once, and the answer to it once.
func TestPushAgain(t *testing.T) {
	t.Parallel()
	data := noise(50_000)
	blob := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, data)
	t.Run("upload", func(t *testing.T) {
		t.Parallel()
		_, host := regtest.NewFaulty(t, regtest.Fault{Method: http.MethodPut, Path: "/blobs/uploads/", Status: http.StatusBadGateway, Times: 1})
		r, rec := open(t, host, remote.Options{})
		opened := 0
		err := r.Push(t.Context(), blob, func(context.Context) (io.ReadCloser, error) {
			opened++
			return io.NopCloser(bytes.NewReader(data)), nil
		})
		if err != nil || opened != 2 || rec.retries() != 1 {
			t.Errorf("opened %d, retries %d, %v", opened, rec.retries(), err)
		}
		if got, err := read(t.Context(), r, blob); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("answer", func(t *testing.T) {
		t.Parallel()
		next := regtest.Handler(t)
		host := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				next.ServeHTTP(httptest.NewRecorder(), r)
				w.WriteHeader(http.StatusGatewayTimeout)
				return
			}
			next.ServeHTTP(w, r)
		}))
		r, _ := open(t, host, remote.Options{})
		opened := 0
		err := r.Push(t.Context(), blob, func(context.Context) (io.ReadCloser, error) {
			opened++
			return io.NopCloser(bytes.NewReader(data)), nil
		})
		if err != nil || opened != 1 {
			t.Errorf("opened %d, %v", opened, err)
		}
	})
}

// TestPushWrongBytes: nothing wrong becomes a blob, and is not tried twice.
func TestPushWrongBytes(t *testing.T) {
	t.Parallel()
	r, rec := open(t, regtest.New(t), remote.Options{})
	data := noise(50_000)
	for name, wrong := range map[string][]byte{
		"short": data[:49_999], "long": append(bytes.Clone(data), 0), "other": append(bytes.Clone(data[:49_999]), data[49_999]^1),
	} {
		for _, mediaType := range []string{bundle.MediaTypeLayerGzip, bundle.MediaTypeManifest} {
			desc := bundle.DescriptorOf(mediaType, data)
			if err := r.Push(t.Context(), desc, bundle.BytesOpener(wrong)); !errors.Is(err, bundle.ErrMismatch) {
				t.Errorf("%s: got %v", name, err)
			}
			if ok, err := r.Exists(t.Context(), desc); ok || err != nil {
				t.Errorf("%s: exists %v, %v", name, ok, err)
			}
		}
	}
	if rec.retries() != 0 {
		t.Errorf("retries %+v", rec.events)
	}
}

// TestRedirect: a blob may lie elsewhere, but no password follows it there.
func TestRedirect(t *testing.T) {
	t.Parallel()
	data := noise(1000)
	blob := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, data)
	var leaked sync.Map
	cdn := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := r.Header.Get("Authorization"); a != "" {
			leaked.Store("Authorization", a)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	host := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("Www-Authenticate", "Basic realm=test")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, "http://"+cdn+"/signed", http.StatusTemporaryRedirect)
	}))
	store := credentials.NewMemoryStore()
	if err := store.Put(t.Context(), host, auth.Credential{Username: "user", Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	r, _ := open(t, host, remote.Options{Credentials: store})
	rc, err := r.Open(t.Context(), blob, 400)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, data[400:]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if v, ok := leaked.Load("Authorization"); ok {
		t.Errorf("the other host was told %v", v)
	}
}

func TestRedirectLoop(t *testing.T) {
	t.Parallel()
	f, host := regtest.NewFaulty(t, regtest.Fault{Path: "/blobs/", Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {"/v2/org/name/blobs/again"}}})
	r, _ := open(t, host, remote.Options{})
	_, err := r.Open(t.Context(), bundle.DescriptorOf(bundle.MediaTypeLayerGzip, noise(9)), 0)
	if err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("got %v", err)
	}
	if n := len(f.Requests(http.MethodGet, "")); n != 6 {
		t.Errorf("%d requests", n)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	if _, err := remote.Open(bundle.Reference{Transport: bundle.TransportLayout, Path: "x"}, remote.Options{}); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	ref := bundle.Reference{Transport: bundle.TransportDocker, Registry: "r.example", Repository: "a/b"}
	if _, err := remote.Open(ref, remote.Options{CAFile: "testdata/none.pem"}); err == nil {
		t.Error("a missing certificate file was accepted")
	}
}
