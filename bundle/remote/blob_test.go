// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/httpstream"
	"github.com/metalpack/metalpack/internal/regtest"
)

// TestResume cuts a blob three times; the stream goes on from the byte it had.
func TestResume(t *testing.T) {
	t.Parallel()
	f, host := regtest.NewFaulty(t)
	r, rec := open(t, host, remote.Options{})
	layer := regtest.Noise(600_000)
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
	if rec.Retries() != 3 || rec.Events[0].Offset != 100_000 || rec.Events[0].Digest != blob.Digest.String() {
		t.Errorf("events %+v", rec.Events)
	}
}

// TestResumeRangeIgnored resumes from a server that begins at 0 every time.
func TestResumeRangeIgnored(t *testing.T) {
	t.Parallel()
	f, host := regtest.NewFaulty(t)
	r, _ := open(t, host, remote.Options{})
	layer := regtest.Noise(200_000)
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
	blob := push(t, r, bundle.MediaTypeLayerGzip, regtest.Noise(5000))
	f.Add(regtest.Fault{Method: http.MethodGet, Path: "/blobs/sha256:", CutAfter: 1})
	if _, err := read(t.Context(), r, blob); !errors.Is(err, bundle.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	if rec.Retries() != httpstream.Patience(2) {
		t.Errorf("%d retries", rec.Retries())
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
			blob := push(t, r, bundle.MediaTypeLayerGzip, regtest.Noise(5000))
			fault.Method, fault.Path = http.MethodGet, "/blobs/sha256:"
			f.Add(fault)
			if _, err := read(t.Context(), r, blob); !errors.Is(err, bundle.ErrMismatch) {
				t.Errorf("got %v", err)
			}
		})
	}
}
