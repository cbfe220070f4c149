// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"bytes"
	"errors"
	"fmt"
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

// TestManyHeads (M4, M7): an index of thousands of entries that are one large
// manifest, or many, costs no more than reading a few.
func TestManyHeads(t *testing.T) {
	t.Parallel()
	const entries = 4096
	large := []byte(`{"schemaVersion":2,"annotations":{"x":"` + strings.Repeat("x", 3<<20) + `"}}`)
	for name, c := range map[string]struct {
		there int  // how many of the entries are
		same  bool // all entries are one
		want  string
	}{
		"one":  {1, true, "tag \"x\", there is only"},
		"many": {100, false, "the manifests of its entries have more than 33554432 bytes"},
		"few":  {10, false, "tag \"x\", there is only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ref := parse(t, "oci:"+t.TempDir())
			blobs := filepath.Join(ref.Path, "blobs", "sha256")
			first := filepath.Join(blobs, strings.Repeat("0", 64))
			if err := errors.Join(os.MkdirAll(blobs, 0o755), os.WriteFile(filepath.Join(ref.Path, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600), os.WriteFile(first, large, 0o600)); err != nil {
				t.Fatal(err)
			}
			var index strings.Builder
			for i := range entries {
				sum := fmt.Sprintf("%064d", i)
				if c.same {
					sum = strings.Repeat("0", 64)
				} else if i > 0 && i < c.there {
					if err := os.Link(first, filepath.Join(blobs, sum)); err != nil {
						t.Fatal(err)
					}
				}
				fmt.Fprintf(&index, `,{"mediaType":%q,"digest":"sha256:%s","size":%d}`, bundle.MediaTypeManifest, sum, len(large))
			}
			data := `{"schemaVersion":2,"manifests":[` + index.String()[1:] + `]}`
			if err := os.WriteFile(filepath.Join(ref.Path, "index.json"), []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := layout.Open(ref)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			_, err = r.Resolve(t.Context(), "x")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%.300v, want %q", err, c.want)
			}
			if _, err := r.Referrers(t.Context(), bundle.DescriptorOf(bundle.MediaTypeManifest, large)); (err == nil) != (c.there < 100) {
				t.Errorf("referrers: %v", err)
			}
		})
	}
}
