// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/regtest"
)

// counted opens data again and again, and counts how often.
func counted(data []byte) (bundle.Opener, *int) {
	n := 0
	return func(context.Context) (io.ReadCloser, error) {
		n++
		return io.NopCloser(bytes.NewReader(data)), nil
	}, &n
}

// TestIngest: the source is read once; POST, PATCH without a range, PUT.
func TestIngest(t *testing.T) {
	t.Parallel()
	f, host := regtest.NewFaulty(t)
	r, rec := open(t, host, remote.Options{})
	for _, size := range []int{1, 600_000} {
		data := regtest.Noise(size)
		want := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, data)
		open, opened := counted(data)
		got, err := r.Ingest(t.Context(), "file", want.Size, open)
		if err != nil || got != want.Digest || *opened != 1 || rec.Retries() != 0 {
			t.Errorf("%d bytes: %v, opened %d, %v", size, got, *opened, err)
		}
		if got, err := read(t.Context(), r, want); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}
	}
	for _, q := range f.Requests(http.MethodPatch, "") {
		if q.Header.Get("Content-Range") != "" || q.Header.Get("Content-Length") == "" {
			t.Errorf("headers %v", q.Header)
		}
	}
}

// TestIngestAgain breaks an upload, loses its session, and loses its last answer.
func TestIngestAgain(t *testing.T) {
	t.Parallel()
	data := regtest.Noise(50_000)
	want := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, data)
	for name, tt := range map[string]struct {
		fault   regtest.Fault
		retries int
	}{
		"upload":  {regtest.Fault{Method: http.MethodPatch, Status: http.StatusBadGateway, Times: 1}, 1},
		"session": {regtest.Fault{Method: http.MethodPut, Status: http.StatusNotFound, Times: 1}, 1},
		"twice":   {regtest.Fault{Method: http.MethodPatch, Status: http.StatusTooManyRequests, Times: 2}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, host := regtest.NewFaulty(t, tt.fault)
			r, rec := open(t, host, remote.Options{})
			open, opened := counted(data)
			got, err := r.Ingest(t.Context(), "file", want.Size, open)
			if err != nil || got != want.Digest || *opened != tt.retries+1 || rec.Retries() != tt.retries {
				t.Errorf("%v, opened %d, events %v, %v", got, *opened, rec, err)
			}
		})
	}
	t.Run("answer", func(t *testing.T) {
		t.Parallel()
		r, _ := open(t, forgetful(t), remote.Options{})
		open, opened := counted(data)
		if got, err := r.Ingest(t.Context(), "file", want.Size, open); err != nil || got != want.Digest || *opened != 1 {
			t.Errorf("%v, opened %d, %v", got, *opened, err)
		}
	})
}

// TestIngestRefused: a registry that wants the digest first gets it by Push, and
// is asked no more. No answer, however odd, makes a blob that nobody checked.
func TestIngestRefused(t *testing.T) {
	t.Parallel()
	data := regtest.Noise(50_000)
	blob := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, data)
	for name, tt := range map[string]struct {
		fault   regtest.Fault
		uploads int
	}{
		"no PATCH":          {regtest.Fault{Method: http.MethodPatch, Status: http.StatusMethodNotAllowed}, 1},
		"chunks too large":  {regtest.Fault{Method: http.MethodPatch, Status: http.StatusRequestEntityTooLarge}, 1},
		"redirect":          {regtest.Fault{Method: http.MethodPatch, Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {"/v2/x"}}}, 1},
		"broken every time": {regtest.Fault{Method: http.MethodPatch, Status: http.StatusInternalServerError}, 3},
		"wants a range":     {regtest.Fault{Method: http.MethodPatch, Status: http.StatusRequestedRangeNotSatisfiable}, 1},
		"took nothing":      {regtest.Fault{Method: http.MethodPatch, Status: http.StatusAccepted}, 1},
		"elsewhere":         {regtest.Fault{Method: http.MethodPatch, Status: http.StatusAccepted, Header: http.Header{"Location": {"http://other.invalid/upload"}}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, host := regtest.NewFaulty(t, tt.fault)
			r, _ := open(t, host, remote.Options{})
			for range 2 {
				open, _ := counted(data)
				if d, err := r.Ingest(t.Context(), "file", blob.Size, open); !errors.Is(err, errors.ErrUnsupported) || d != "" {
					t.Errorf("%v, %v", d, err)
				}
			}
			if n := len(f.Requests(http.MethodPost, "")); n != tt.uploads {
				t.Errorf("%d uploads were begun, want %d", n, tt.uploads)
			}
			if ok, err := r.Exists(t.Context(), blob); ok || err != nil {
				t.Errorf("exists %v, %v", ok, err)
			}
			if err := r.Push(t.Context(), blob, bundle.BytesOpener(data)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestIngestFails: what is no fault of the way is an error, said once.
func TestIngestFails(t *testing.T) {
	t.Parallel()
	data := regtest.Noise(50_000)
	broken := errors.New("the disk is on fire")
	for name, tt := range map[string]struct {
		size  int64
		open  bundle.Opener
		fault regtest.Fault
		want  error
	}{
		"shorter":      {50_001, bundle.BytesOpener(data), regtest.Fault{Path: "none"}, bundle.ErrMismatch},
		"longer":       {49_999, bundle.BytesOpener(data), regtest.Fault{Path: "none"}, bundle.ErrMismatch},
		"no source":    {50_000, func(context.Context) (io.ReadCloser, error) { return nil, broken }, regtest.Fault{Path: "none"}, broken},
		"unauthorized": {50_000, bundle.BytesOpener(data), regtest.Fault{Status: http.StatusForbidden}, bundle.ErrUnauthorized},
		"unavailable":  {50_000, bundle.BytesOpener(data), regtest.Fault{Method: http.MethodPost, Status: http.StatusServiceUnavailable}, bundle.ErrUnavailable},
		"empty":        {0, bundle.BytesOpener(nil), regtest.Fault{Path: "none"}, errors.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, host := regtest.NewFaulty(t, tt.fault)
			r, _ := open(t, host, remote.Options{Retries: -1})
			_, err := r.Ingest(t.Context(), "model.safetensors", tt.size, tt.open)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
			if atRegistry := tt.fault.Status != 0; atRegistry && !strings.Contains(err.Error(), host) {
				t.Errorf("%v does not say where", err)
			}
			if n := len(f.Requests(http.MethodPut, "")); n != 0 {
				t.Errorf("%d uploads were finished", n)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	host := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.Header().Set("Location", "/upload")
			w.WriteHeader(http.StatusAccepted)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	}))
	r, _ := open(t, host, remote.Options{})
	if _, err := r.Ingest(ctx, "file", 50_000, bundle.BytesOpener(data)); !errors.Is(err, context.Canceled) || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestIngestAuthorized: the body, which cannot be sent twice, goes with the
// credentials that the POST has found out, and the last request has them too.
func TestIngestAuthorized(t *testing.T) {
	t.Parallel()
	next := regtest.Handler(t)
	var asked []string
	host := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		asked = append(asked, r.Method+" "+user)
		if user == "" {
			w.Header().Set("Www-Authenticate", "Basic realm=test")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}))
	store := credentials.NewMemoryStore()
	if err := store.Put(t.Context(), host, auth.Credential{Username: "user", Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	r, _ := open(t, host, remote.Options{Credentials: store})
	data := regtest.Noise(50_000)
	if _, err := r.Ingest(t.Context(), "file", 50_000, bundle.BytesOpener(data)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"POST ", "POST user", "PATCH user", "PUT user"}, asked); diff != "" {
		t.Error(diff)
	}
}
