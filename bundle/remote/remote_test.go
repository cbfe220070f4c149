// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/pipetest"
	"github.com/metalpack/metalpack/internal/regtest"
)

func open(t *testing.T, host string, o remote.Options) (*remote.Repository, *regtest.Recorder) {
	t.Helper()
	rec := &regtest.Recorder{}
	o.Events, o.Wait = rec.Emit, rec.Wait
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
	layer := regtest.Noise(300_000)
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
	if tags, err := r.Tags(t.Context()); err != nil || len(tags) != 1 || tags[0] != "v1" {
		t.Errorf("tags %v, %v", tags, err)
	}
	none, _ := open(t, regtest.New(t), remote.Options{})
	if tags, err := none.Tags(t.Context()); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("tags of nothing: %v, %v", tags, err)
	}
	gone := bundle.DescriptorOf(bundle.MediaTypeConfig, []byte("gone"))
	if ok, err := r.Exists(t.Context(), gone); err != nil || ok {
		t.Errorf("exists: %v, %v", ok, err)
	}
}

func TestReferrers(t *testing.T) {
	t.Parallel()
	r, _ := open(t, regtest.New(t), remote.Options{})
	subject, _ := pushImage(t, r, regtest.Noise(10), "v1")
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

// TestReferrersTagTooLarge: a registry without the referrers API, whose fallback
// tag names an index beyond the cap.
func TestReferrersTagTooLarge(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1<<20 + 1, 1<<20 + 2} {
		index := []byte(`{"manifests":[]` + strings.Repeat(" ", size-16) + "}")
		host := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/referrers/") {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Type", bundle.MediaTypeIndex)
			w.Header().Set("Content-Length", strconv.Itoa(size))
			_, _ = w.Write(index)
		}))
		r, _ := open(t, host, remote.Options{Retries: -1})
		_, err := r.Referrers(t.Context(), bundle.DescriptorOf(bundle.MediaTypeManifest, []byte("{}")))
		if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "more than 1048576 bytes") {
			t.Errorf("%d bytes: got %v", size, err)
		}
	}
}

func TestManifestWrongBytes(t *testing.T) {
	t.Parallel()
	f, host := regtest.NewFaulty(t)
	r, _ := open(t, host, remote.Options{})
	manifest, _ := pushImage(t, r, regtest.Noise(10), "v1")
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
	layer := regtest.Noise(5000)
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
	if len(rec.Waits) != 3 || rec.Waits[0] != 7*time.Second || rec.Waits[1] != time.Minute || rec.Waits[2] > time.Second {
		t.Errorf("waits %v", rec.Waits)
	}
}

func TestBusyForEver(t *testing.T) {
	t.Parallel()
	_, host := regtest.NewFaulty(t, regtest.Fault{Status: http.StatusServiceUnavailable, Header: http.Header{"X-Request-Id": {"req-7"}}})
	r, rec := open(t, host, remote.Options{Retries: 1})
	_, err := r.Resolve(t.Context(), "v1")
	if err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), `request id "req-7"`) || !strings.Contains(err.Error(), host) || rec.Retries() != 1 {
		t.Errorf("%d retries, %v", rec.Retries(), err)
	}
}

// TestStall gives up a silent connection, and tries again.
func TestStall(t *testing.T) {
	t.Parallel()
	f := &regtest.Faulty{Next: regtest.Handler(t)}
	synctest.Test(t, func(t *testing.T) {
		r, rec := open(t, "localhost", remote.Options{Client: pipetest.Client(t, f)})
		layer := regtest.Noise(5000)
		blob := push(t, r, bundle.MediaTypeLayerGzip, layer)
		f.Add(regtest.Fault{Method: http.MethodGet, Path: "/blobs/sha256:", CutAfter: 1000, Times: 1})
		f.Add(regtest.Fault{Method: http.MethodGet, Path: "/blobs/sha256:", Hang: true, Times: 1})
		begin := time.Now()
		got, err := read(t.Context(), r, blob)
		if err != nil || !bytes.Equal(got, layer) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		// Two watch for the answer, and bark at the same moment.
		if n := rec.Retries(); n < 2 || n > 3 || !strings.Contains(rec.Events[1].Reason, "stalled") {
			t.Errorf("events %+v", rec.Events)
		}
		if d := time.Since(begin); d != remote.DefaultStallTimeout {
			t.Errorf("given up after %s", d)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	host := regtest.Serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	r, _ := open(t, host, remote.Options{})
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
			data := regtest.Noise(10)
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
	const host = "127.0.0.1:1"
	r, rec := open(t, host, remote.Options{})
	_, err := r.Resolve(t.Context(), "v1")
	if !errors.Is(err, bundle.ErrUnreachable) || !strings.Contains(err.Error(), host) || rec.Retries() != 0 {
		t.Errorf("%d retries, %v", rec.Retries(), err)
	}
	r, _ = open(t, "registry.invalid", remote.Options{})
	if _, err = r.Resolve(t.Context(), "v1"); !errors.Is(err, bundle.ErrUnreachable) || !strings.Contains(err.Error(), "registry.invalid") {
		t.Errorf("got %v", err)
	}
}
