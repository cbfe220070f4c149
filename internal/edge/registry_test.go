// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"flag"
	"io"
	"slices"
	"testing"

	"github.com/metalpack/metalpack/internal/edge"
)

func TestRegistry(t *testing.T) {
	t.Parallel()
	var r edge.Registry
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	r.Flags(fs)
	if err := fs.Parse([]string{"--plain-http", "--ca-file", "registry.go", "--allow-realm", "a", "--allow-realm=b"}); err != nil {
		t.Fatal(err)
	}
	got := r.Remote(nil)
	if !got.PlainHTTP || got.CAFile != "registry.go" || !slices.Equal(got.AllowRealms, []string{"a", "b"}) {
		t.Errorf("got %+v", got)
	}
	fs.SetOutput(io.Discard)
	for _, path := range []string{"nowhere.pem", "."} {
		if err := fs.Parse([]string{"--ca-file", path}); err == nil {
			t.Errorf("%s was taken", path)
		}
	}
}
