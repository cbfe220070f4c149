// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package regtest owns registries for tests: the embedded one on loopback with
// data in a temporary directory, and [Faulty], which lets requests go wrong by
// script.
package regtest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/internal/registry"
)

// New starts an empty registry that ends with the test, and returns its
// host:port.
func New(t testing.TB) string {
	t.Helper()
	return Serve(t, Handler(t))
}

// Handler is an empty registry, to be wrapped.
func Handler(t testing.TB) http.Handler {
	t.Helper()
	h, err := registry.Handler(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Serve serves h on loopback until the test ends, and returns its host:port.
func Serve(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// NewFaulty starts an empty registry with faults and returns it with its
// host:port.
func NewFaulty(t testing.TB, faults ...Fault) (*Faulty, string) {
	t.Helper()
	f := &Faulty{Next: Handler(t)}
	for _, fault := range faults {
		f.Add(fault)
	}
	return f, Serve(t, f)
}
