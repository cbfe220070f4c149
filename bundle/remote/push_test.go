// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/regtest"
)

// TestPushAgain loses the upload once, and the answer to it once.
func TestPushAgain(t *testing.T) {
	t.Parallel()
	data := regtest.Noise(50_000)
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
		if err != nil || opened != 2 || rec.Retries() != 1 {
			t.Errorf("opened %d, retries %d, %v", opened, rec.Retries(), err)
		}
		if got, err := read(t.Context(), r, blob); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("answer", func(t *testing.T) {
		t.Parallel()
		r, _ := open(t, forgetful(t), remote.Options{})
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

// forgetful is a registry that takes every upload, and whose answer to that is
// lost.
func forgetful(t *testing.T) (host string) {
	t.Helper()
	next := regtest.Handler(t)
	return regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			next.ServeHTTP(httptest.NewRecorder(), r)
			w.WriteHeader(http.StatusGatewayTimeout)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// TestPushWrongBytes: nothing wrong becomes a blob, and is not tried twice.
func TestPushWrongBytes(t *testing.T) {
	t.Parallel()
	r, rec := open(t, regtest.New(t), remote.Options{})
	data := regtest.Noise(50_000)
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
	if rec.Retries() != 0 {
		t.Errorf("retries %+v", rec.Events)
	}
}
