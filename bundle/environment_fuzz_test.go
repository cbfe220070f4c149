// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

// FuzzParseEnvironment: an environment is read, or refused by the sentinel, and
// written as it was read.
func FuzzParseEnvironment(f *testing.F) {
	f.Add([]byte(`{"version":1,"name":"x","platform":{"os":"linux","arch":"amd64"},"packages":[{"name":"a"}],"launch":{"v":{"args":["a"]}},"probes":[{"import":"a"},{"import":["a","b"]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := bundle.ParseInputs(data); err != nil && !errors.Is(err, bundle.ErrInvalid) {
			t.Fatalf("untyped: %v", err)
		}
		e, err := bundle.ParseEnvironment(data)
		if err != nil {
			if !errors.Is(err, bundle.ErrInvalid) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		first, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := bundle.ParseEnvironment(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := again.Encode()
		if d := cmp.Diff(string(first), string(second)); err != nil || d != "" {
			t.Errorf("%v\n%s", err, d)
		}
	})
}
