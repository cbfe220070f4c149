// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
)

const layerName = "wheel/x"

// item is one tar entry of a test.
type item struct {
	h    tar.Header
	data string
}

func file(name, data string) item {
	return item{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), Format: tar.FormatUSTAR}, data}
}

func dir(name string) item {
	return item{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, Format: tar.FormatUSTAR}, ""}
}

func link(name, target string) item {
	return item{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, Format: tar.FormatUSTAR}, ""}
}

func with(i item, f func(h *tar.Header)) item { f(&i.h); return i }

func tarOf(tb testing.TB, items ...item) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		if err := w.WriteHeader(&i.h); err != nil {
			tb.Fatalf("%s: %v", i.h.Name, err)
		}
		if _, err := io.WriteString(w, i.data); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func zstdOf(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithWindowSize(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

func gzipOf(t *testing.T, data []byte, change func(*gzip.Header)) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if change != nil {
		change(&w.Header)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func desc(mediaType string, blob []byte) bundle.Descriptor {
	d := bundle.DescriptorOf(mediaType, blob)
	d.Annotations = map[string]string{bundle.AnnotationLayer: layerName}
	return d
}

func row(p, data string) bundle.TreeEntry {
	sum := sha256.Sum256([]byte(data))
	return bundle.TreeEntry{Path: p, Mode: bundle.ModeFile, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), Layer: layerName}
}

// goodTree is what the hostile layers claim to be: lib/a, lib/b and a link.
func goodTree() *bundle.Tree {
	exe := row("bin/run", "#!")
	exe.Mode = bundle.ModeExecutable
	return &bundle.Tree{Entries: []bundle.TreeEntry{
		exe, row("lib/a", "aaa"), row("lib/b", "bb"),
		{Path: "lib/l", Target: "a", Layer: layerName},
		{Path: "other", Mode: bundle.ModeFile, SHA256: strings.Repeat("0", 64), Layer: "wheel/y"},
	}}
}

func goodItems() []item {
	return []item{
		dir("env/"), dir("env/bin/"), with(file("env/bin/run", "#!"), func(h *tar.Header) { h.Mode = 0o755 }),
		dir("env/lib/"), file("env/lib/a", "aaa"), file("env/lib/b", "bb"), link("env/lib/l", "a"),
	}
}

// unpackTo runs Layer below a directory with a canary.
func unpackTo(t *testing.T, tree *bundle.Tree, d bundle.Descriptor, blob []byte, want func(bundle.TreeEntry) bool) (string, Stats, error) {
	t.Helper()
	parent := t.TempDir()
	if err := os.WriteFile(filepath.Join(parent, "canary"), []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(parent, "version")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(at)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	stats, err := Layer(t.Context(), bytes.NewReader(blob), d, Options{Name: "env", Tree: tree, Root: root, Want: want})
	entries, rerr := os.ReadDir(parent)
	canary, cerr := os.ReadFile(filepath.Join(parent, "canary"))
	if rerr != nil || cerr != nil || len(entries) != 2 || string(canary) != "untouched" {
		t.Errorf("something outside was touched: %v %q %v %v", entries, canary, rerr, cerr)
	}
	return at, stats, err
}

func TestLayer(t *testing.T) {
	t.Parallel()
	data := tarOf(t, goodItems()...)
	for mediaType, blob := range map[string][]byte{bundle.MediaTypeLayerGzip: gzipOf(t, data, nil), bundle.MediaTypeLayerZstd: zstdOf(t, data)} {
		at, stats, err := unpackTo(t, goodTree(), desc(mediaType, blob), blob, nil)
		if err != nil || stats != (Stats{Written: 4, Bytes: 7}) {
			t.Fatalf("%s: %+v, %v", mediaType, stats, err)
		}
		for p, mode := range map[string]os.FileMode{"bin/run": 0o555, "lib/a": 0o444, "lib/b": 0o444} {
			if info, err := os.Lstat(filepath.Join(at, p)); err != nil || info.Mode() != mode {
				t.Errorf("%s: %v, %v", p, info, err)
			}
		}
		if target, err := os.Readlink(filepath.Join(at, "lib/l")); err != nil || target != "a" {
			t.Errorf("link: %q, %v", target, err)
		}
	}
}

func TestLayerWant(t *testing.T) {
	t.Parallel()
	blob := zstdOf(t, tarOf(t, goodItems()...))
	at, stats, err := unpackTo(t, goodTree(), desc(bundle.MediaTypeLayerZstd, blob), blob, func(e bundle.TreeEntry) bool { return e.Path == "lib/b" })
	if err != nil || stats != (Stats{Written: 1, Skipped: 3, Bytes: 2}) {
		t.Fatalf("%+v, %v", stats, err)
	}
	if _, err := os.Lstat(filepath.Join(at, "lib/a")); err == nil {
		t.Error("lib/a was written")
	}
}

// replace returns the good items with one exchanged.
func replace(name string, by ...item) []item {
	items := goodItems()
	i := slices.IndexFunc(items, func(i item) bool { return i.h.Name == name })
	return slices.Concat(items[:i], by, items[i+1:])
}

func change(name string, f func(*tar.Header)) []item {
	items := goodItems()
	i := slices.IndexFunc(items, func(i item) bool { return i.h.Name == name })
	f(&items[i].h)
	return items
}

func TestDamage(t *testing.T) {
	t.Parallel()
	blob := zstdOf(t, tarOf(t, goodItems()...))
	d := desc(bundle.MediaTypeLayerZstd, blob)
	for i := range blob {
		bad := slices.Clone(blob)
		bad[i] ^= 0x10
		if _, _, err := unpackTo(t, goodTree(), d, bad, nil); !errors.Is(err, bundle.ErrMismatch) {
			t.Fatalf("bit flipped in byte %d: %v", i, err)
		}
	}
	for _, bad := range [][]byte{nil, blob[:1], blob[:len(blob)-1], append(slices.Clone(blob), 0)} {
		if _, _, err := unpackTo(t, goodTree(), d, bad, nil); !errors.Is(err, bundle.ErrMismatch) {
			t.Errorf("%d of %d bytes: %v", len(bad), len(blob), err)
		}
	}
	// The blob is right, a file in it is not: it is not left behind.
	blob = zstdOf(t, tarOf(t, replace("env/lib/b", file("env/lib/b", "xx"))...))
	at, _, err := unpackTo(t, goodTree(), desc(bundle.MediaTypeLayerZstd, blob), blob, nil)
	if !errors.Is(err, bundle.ErrMismatch) || !strings.Contains(err.Error(), `"lib/b"`) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(filepath.Join(at, "lib/b")); err == nil {
		t.Error("the wrong file was left behind")
	}
}

func TestCancelAndNetwork(t *testing.T) {
	t.Parallel()
	blob := zstdOf(t, tarOf(t, goodItems()...))
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	o := Options{Name: "env", Tree: goodTree(), Root: root}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := Layer(ctx, bytes.NewReader(blob), desc(bundle.MediaTypeLayerZstd, blob), o); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	broken := errors.New("reset by peer")
	r := io.MultiReader(bytes.NewReader(blob[:20]), errReader{broken})
	if _, err := Layer(t.Context(), r, desc(bundle.MediaTypeLayerZstd, blob), o); !errors.Is(err, broken) || errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// metadataItems is what the metadata layer of an environment holds, and the tree
// in it.
func metadataItems(t *testing.T) (items []item, env, tree string) {
	t.Helper()
	data, err := (&bundle.Environment{Version: 1, Name: "env"}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	envRow := row(bundle.EnvironmentPath, string(data))
	envRow.Layer = bundle.MetadataLayer
	env, tree = string(data), string((&bundle.Tree{Entries: []bundle.TreeEntry{row("lib/a", "aaa"), envRow}}).Encode())
	return []item{dir("env/"), dir("env/metalpack/"), file("env/metalpack/environment.json", env), file("env/metalpack/tree", tree)}, env, tree
}

// TestMetadataOfManifest: which layer it is, and the tree that the manifest names.
func TestMetadataOfManifest(t *testing.T) {
	t.Parallel()
	items, _, tree := metadataItems(t)
	sum := bundle.TreeDigest([]byte(tree))
	blob := zstdOf(t, tarOf(t, items...))
	layer := desc(bundle.MediaTypeLayerZstd, blob)
	layer.Annotations = map[string]string{bundle.AnnotationLayer: bundle.MetadataLayer}
	for name, test := range map[string]struct {
		layers []bundle.Descriptor
		tree   string
		want   error
	}{
		"no annotation":    {layers: []bundle.Descriptor{{}, layer}},
		"the tree":         {layers: []bundle.Descriptor{layer}, tree: sum.String()},
		"another tree":     {layers: []bundle.Descriptor{layer}, tree: "sha256:0", want: bundle.ErrMismatch},
		"no such layer":    {layers: []bundle.Descriptor{{}}, want: ErrNotEnvironment},
		"no layers at all": {want: bundle.ErrInvalid},
	} {
		m := &ocispec.Manifest{Layers: test.layers, Annotations: map[string]string{bundle.AnnotationTree: test.tree}}
		c, err := Metadata(t.Context(), m, func(_ context.Context, d bundle.Descriptor) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(blob)), bundle.CheckDescriptor(d)
		})
		if !errors.Is(err, test.want) || err == nil && (c.Environment.Name != "env" || c.Layer.Digest != layer.Digest || c.TreeDigest != sum) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	good, env, tree := metadataItems(t)
	read := func(name string, items ...item) error {
		blob := zstdOf(t, tarOf(t, items...))
		_, _, _, err := readMetadata(t.Context(), bytes.NewReader(blob), desc(bundle.MediaTypeLayerZstd, blob), name)
		return err
	}
	for _, name := range []string{"env", ""} {
		if err := read(name, good...); err != nil {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for name, items := range map[string][]item{
		"no tree":     good[:3],
		"no env":      {good[0], good[1], good[3]},
		"extra file":  append(slices.Clone(good), file("env/metalpack/x", "")),
		"outside":     append(slices.Clone(good), file("env/lib/a", "aaa")),
		"deep":        append(slices.Clone(good), file("env/metalpack/x/y", "")),
		"twice":       append(slices.Clone(good), good[3]),
		"link":        append(slices.Clone(good), link("env/metalpack/l", "tree")),
		"other name":  {dir("x/"), file("x/metalpack/environment.json", env), file("x/metalpack/tree", tree)},
		"upper case":  {dir("X/")},
		"dir twice":   {good[0], good[0], good[2], good[3]},
		"altered env": {good[0], good[1], file("env/metalpack/environment.json", env+"\n"), good[3]},
	} {
		if err := read("", items...); !errors.Is(err, bundle.ErrInvalid) && !errors.Is(err, bundle.ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
