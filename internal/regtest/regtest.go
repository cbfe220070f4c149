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
func New(tb testing.TB) string {
	tb.Helper()
	return Serve(tb, Handler(tb))
}

// Handler is an empty registry, to be wrapped.
func Handler(tb testing.TB) http.Handler {
	tb.Helper()
	h, err := registry.Handler(tb.Context(), tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// Serve serves h on loopback until the test ends, and returns its host:port.
func Serve(tb testing.TB, h http.Handler) string {
	tb.Helper()
	s := httptest.NewServer(h)
	tb.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// NewFaulty starts an empty registry with faults and returns it with its
// host:port.
func NewFaulty(tb testing.TB, faults ...Fault) (*Faulty, string) {
	tb.Helper()
	f := &Faulty{Next: Handler(tb)}
	for _, fault := range faults {
		f.Add(fault)
	}
	return f, Serve(tb, f)
}
