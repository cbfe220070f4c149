// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/regtest"
)

// TestBearer gets a token from a token server on this machine.
// guarded is a registry that opens with a token, which grant gives out.
func guarded(t *testing.T, token string, grant http.HandlerFunc) (host string) {
	t.Helper()
	next, granting := regtest.Handler(t), regtest.Serve(t, grant)
	return regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.Header().Set("Www-Authenticate", `Bearer realm="http://`+granting+`/token",service="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

func TestBearer(t *testing.T) {
	t.Parallel()
	host := guarded(t, "good", func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "user" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"token":"good"}`)
	})
	store := credentials.NewMemoryStore()
	if err := store.Put(t.Context(), host, auth.Credential{Username: "user", Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	r, _ := open(t, host, remote.Options{Credentials: store})
	layer := regtest.Noise(1000)
	_, blob := pushImage(t, r, layer, "v1")
	if got, err := read(t.Context(), r, blob); err != nil || !bytes.Equal(got, layer) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	stranger, _ := open(t, host, remote.Options{})
	if _, err := stranger.Resolve(t.Context(), "v1"); !errors.Is(err, bundle.ErrUnauthorized) {
		t.Errorf("without a password: %v", err)
	}
}

// TestTLS trusts a certificate file, and follows no redirect out of TLS.
func TestTLS(t *testing.T) {
	t.Parallel()
	data := regtest.Noise(1000)
	plain := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	next := regtest.Handler(t)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, "http://"+plain, http.StatusTemporaryRedirect)
			return
		}
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	r, _ := open(t, strings.TrimPrefix(s.URL, "https://"), remote.Options{CAFile: file})
	blob := push(t, r, bundle.MediaTypeLayerGzip, data)
	if _, err := r.Open(t.Context(), blob, 0); err == nil || !strings.Contains(err.Error(), "redirect refused") {
		t.Errorf("got %v", err)
	}
}
