// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/metalpack/metalpack/bundle"
)

// FuzzLayer feeds any tar to the extractor. Nothing appears outside, every
// file that is left under its final mode is one of the tree, and success means
// that all of them are there.
func FuzzLayer(f *testing.F) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(nil))
	f.Add(tarOf(f, goodItems()...))
	f.Add(rawTar(f, raw{name: "env/lib/a", typeflag: '0', size: 3, data: "aaa"}))
	f.Add(rawTar(f, pax("path=env/lib/a", "size=3"), raw{name: "x", typeflag: '0', data: "aaa"}))
	f.Add(rawTar(f, raw{name: "env/lib/l", typeflag: '2'}))
	f.Fuzz(func(t *testing.T, data []byte) {
		blob := encoder.EncodeAll(data, nil)
		tree := goodTree()
		at, _, err := unpackTo(t, tree, desc(bundle.MediaTypeLayerZstd, blob), blob, nil)
		for _, e := range tree.Entries {
			got, rerr := os.ReadFile(filepath.Join(at, filepath.FromSlash(e.Path)))
			if rerr == nil && row(e.Path, string(got)).SHA256 != e.SHA256 && !e.IsLink() {
				t.Errorf("%s: wrong bytes %q after %v", e.Path, got, err)
			}
			if rerr != nil && err == nil && e.Layer == layerName {
				t.Errorf("%s is missing: %v", e.Path, rerr)
			}
		}
	})
}

// FuzzMetadata feeds any tar as the layer that comes first.
func FuzzMetadata(f *testing.F) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
	if err != nil {
		f.Fatal(err)
	}
	env, err := (&bundle.Environment{Version: 1, Name: "env"}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	listed := row(bundle.EnvironmentPath, string(env))
	listed.Layer = bundle.MetadataLayer
	tree := string((&bundle.Tree{Entries: []bundle.TreeEntry{row("lib/a", "aaa"), listed}}).Encode())
	f.Add(tarOf(f, dir("env/"), dir("env/metalpack/"), file("env/metalpack/environment.json", string(env)), file("env/metalpack/tree", tree)))
	f.Add(tarOf(f, dir("env/"), file("env/metalpack/tree", "x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		blob := encoder.EncodeAll(data, nil)
		env, tree, files, err := readMetadata(t.Context(), bytes.NewReader(blob), desc(bundle.MediaTypeLayerZstd, blob), "")
		if err != nil {
			return
		}
		if bundle.CheckName(env.Name) != nil || bundle.CheckCollisions(tree.Entries) != nil || files[bundle.TreePath] == nil {
			t.Errorf("accepted %q with %d files", env.Name, len(files))
		}
	})
}
