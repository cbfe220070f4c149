// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/registry"
)

// serve runs a registry on dir and returns its address and how to stop it.
func serve(t *testing.T, dir string) (string, func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	h, err := registry.Handler(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- registry.Serve(ctx, ln, h) }()
	return ln.Addr().String(), func() error {
		cancel()
		return <-done
	}
}

// TestRestart: what was pushed is there after a stop that was asked for.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := []byte("some bytes")
	desc := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, data)
	open := func(host string) *remote.Repository {
		r, err := remote.Open(bundle.Reference{Transport: bundle.TransportDocker, Registry: host, Repository: "a/b"}, remote.Options{Credentials: credentials.NewMemoryStore()})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	host, stop := serve(t, dir)
	if err := open(host).Push(t.Context(), desc, bundle.BytesOpener(data)); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := stop(); err != nil {
		t.Error(err)
	}
	host, stop = serve(t, dir)
	if ok, err := open(host).Exists(t.Context(), desc); err != nil || !ok {
		t.Errorf("after a restart: %v, %v", ok, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestCannotServe: a directory that cannot be used is an error, not a panic.
func TestCannotServe(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Handler(t.Context(), file); err == nil {
		t.Error("a file was taken for a directory")
	}
}
