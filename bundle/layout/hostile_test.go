// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/layout"
)

func TestForeignDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := layout.Create(t.Context(), parse(t, "oci:"+dir)); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("create: %v", err)
	}
	if _, err := layout.Open(parse(t, "oci:"+dir)); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("open: %v", err)
	}
}

// TestNoWayOut: a link in a layout does not lead out of it.
func TestNoWayOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := []byte("secret")
	if err := os.WriteFile(filepath.Join(dir, "secret"), secret, 0o600); err != nil {
		t.Fatal(err)
	}
	ref := parse(t, "oci:"+filepath.Join(dir, "layout"))
	put(t, ref, "one", "v1")
	desc := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, secret)
	if err := os.Symlink(filepath.Join(dir, "secret"), filepath.Join(ref.Path, "blobs", "sha256", desc.Digest.Encoded())); err != nil {
		t.Fatal(err)
	}
	r, err := layout.Open(ref)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if rc, err := r.Open(t.Context(), desc, 0); err == nil {
		_ = rc.Close()
		t.Error("the link was followed")
	}
}

func TestBrokenArchives(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "good.tar")
	put(t, parse(t, "oci-archive:"+path), strings.Repeat("x", 4000), "v1")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty": {}, "text": []byte("not a tar"), "cut": good[:3000], "gzip": append([]byte{0x1f, 0x8b, 8}, good[3:]...), "no index": make([]byte, 1024),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x.tar")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := layout.Open(parse(t, "oci-archive:"+path)); !errors.Is(err, bundle.ErrInvalid) {
				t.Errorf("open: %v", err)
			}
			if _, err := layout.Create(t.Context(), parse(t, "oci-archive:"+path)); !errors.Is(err, bundle.ErrInvalid) {
				t.Errorf("create: %v", err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
				t.Errorf("the user's file was changed: %v", err)
			}
		})
	}
}
