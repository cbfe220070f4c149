// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/bundle/transports"
	"github.com/metalpack/metalpack/internal/regtest"
)

// TestCopyAround copies registry -> layout -> archive -> registry; every
// digest stays, and all bytes verify at the end.
func TestCopyAround(t *testing.T) {
	t.Parallel()
	o := remote.Options{Credentials: credentials.NewMemoryStore()}
	dir := t.TempDir()
	stations := []bundle.Reference{
		parse(t, "docker://"+regtest.New(t)+"/org/name:v1"),
		parse(t, "oci:"+filepath.Join(dir, "layout")+":v1"),
		parse(t, "oci-archive:"+filepath.Join(dir, "file.tar")+":v1"),
		parse(t, "docker://"+regtest.New(t)+"/org/other:v1"),
	}
	first, err := remote.Open(stations[0], o)
	if err != nil {
		t.Fatal(err)
	}
	root := write(t, first, strings.Repeat("layer ", 100_000), "v1")
	for i, to := range stations[1:] {
		if got := copyOne(t, stations[i], to, o); got != root.Digest {
			t.Errorf("%s: %s, want %s", to, got, root.Digest)
		}
	}
	src, closeSource, err := transports.OpenSource(stations[3], o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(bundle.Copy(t.Context(), src, sink{}, root, bundle.CopyOptions{}), closeSource()); err != nil {
		t.Error(err)
	}
}

func copyOne(t *testing.T, from, to bundle.Reference, o remote.Options) digest.Digest {
	t.Helper()
	src, closeSource, err := transports.OpenSource(from, o)
	if err != nil {
		t.Fatal(err)
	}
	root, err := src.Resolve(t.Context(), from.Name())
	if err != nil {
		t.Fatal(err)
	}
	dst, err := transports.OpenTarget(t.Context(), to, o)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(bundle.Copy(t.Context(), src, dst, root, bundle.CopyOptions{}), dst.Tag(t.Context(), root, to.Tag), dst.Commit(t.Context()), dst.Close(), closeSource())
	if err != nil {
		t.Fatal(err)
	}
	src, closeSource, err = transports.OpenSource(to, o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := src.Resolve(t.Context(), to.Name())
	if err := errors.Join(err, closeSource()); err != nil {
		t.Fatal(err)
	}
	return got.Digest
}

// sink is a target that verifies and forgets.
type sink struct{}

func (sink) Exists(context.Context, bundle.Descriptor) (bool, error) { return false, nil }
func (sink) Tag(context.Context, bundle.Descriptor, string) error    { return nil }
func (sink) Push(ctx context.Context, desc bundle.Descriptor, open bundle.Opener) error {
	rc, err := open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(bundle.NewVerifier(rc, desc).Finish(), rc.Close())
}
