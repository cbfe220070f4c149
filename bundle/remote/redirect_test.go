// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/regtest"
)

// TestRedirect (HOSTILE N5): a blob may lie elsewhere, on another port even, but
// no password follows it there.
func TestRedirect(t *testing.T) {
	t.Parallel()
	data := regtest.Noise(1000)
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

// TestRedirectLoop (HOSTILE N5): five hops, not twenty.
func TestRedirectLoop(t *testing.T) {
	t.Parallel()
	f, host := regtest.NewFaulty(t, regtest.Fault{Path: "/blobs/", Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {"/v2/org/name/blobs/again"}}})
	r, _ := open(t, host, remote.Options{})
	_, err := r.Open(t.Context(), bundle.DescriptorOf(bundle.MediaTypeLayerGzip, regtest.Noise(9)), 0)
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
