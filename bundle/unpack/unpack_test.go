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

func tarOf(t *testing.T, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		if err := w.WriteHeader(&i.h); err != nil {
			t.Fatalf("%s: %v", i.h.Name, err)
		}
		if _, err := io.WriteString(w, i.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
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

func TestHostileLayers(t *testing.T) {
	t.Parallel()
	a := "env/lib/a"
	cases := map[string][]item{
		"T1 absolute":            replace(a, file("/env/lib/a", "aaa")),
		"T1 double slash":        replace(a, file("//env/lib/a", "aaa")),
		"T1 drive":               replace(a, file(`C:\env\lib\a`, "aaa")),
		"T2 dot dot":             replace(a, file("env/lib/../../../canary", "aaa")),
		"T2 dot slash":           replace(a, file("./env/lib/a", "aaa")),
		"T2 newline":             replace(a, file("env/lib/a\n", "aaa")),
		"T3 link outside":        replace("env/lib/l", link("env/lib/l", "/etc")),
		"T3 link up":             replace("env/lib/l", link("env/lib/l", "../../..")),
		"T5 link then file":      append(goodItems(), file("env/lib/l", "x")),
		"T6 hard link":           replace(a, with(file(a, ""), func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeLink, "env/lib/b" })),
		"T7 through link":        append(goodItems(), file("env/lib/l/x", "x")),
		"T9 root is a link":      replace("env/", link("env", "/tmp")),
		"T10 directory on link":  append(goodItems(), dir("env/lib/l/")),
		"T11 twice":              append(goodItems(), file(a, "aaa")),
		"T11 directory twice":    append(goodItems(), dir("env/lib/")),
		"T12 other case":         replace(a, file("env/lib/A", "aaa")),
		"T16 FIFO":               replace(a, with(file(a, ""), func(h *tar.Header) { h.Typeflag = tar.TypeFifo })),
		"T16 device":             replace(a, with(file(a, ""), func(h *tar.Header) { h.Typeflag = tar.TypeChar })),
		"T17 setuid":             change(a, func(h *tar.Header) { h.Mode = 0o4755 }),
		"T17 world":              change(a, func(h *tar.Header) { h.Mode = 0o666 }),
		"T17 executable":         change(a, func(h *tar.Header) { h.Mode = 0o755 }),
		"T17 directory":          change("env/lib/", func(h *tar.Header) { h.Mode = 0 }),
		"T17 owner":              change(a, func(h *tar.Header) { h.Uid = 1000 }),
		"T17 owner's name":       change(a, func(h *tar.Header) { h.Uname = "root" }),
		"T21 unlisted file":      append(goodItems(), file("env/lib/c", "")),
		"T21 unlisted directory": append(goodItems(), dir("env/more/")),
		"T21 of another layer":   append(goodItems(), file("env/other", "")),
		"T26 whiteout":           append(goodItems(), file("env/lib/.wh.a", "")),
		"GNU format":             change(a, func(h *tar.Header) { h.Format = tar.FormatGNU }),
		"PAX xattr": change(a, func(h *tar.Header) {
			h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{"SCHILY.xattr.user.x": "y"}
		}),
		"outside the payload root": replace(a, file("other/lib/a", "aaa")),
		"missing":                  replace(a),
		"link elsewhere":           replace("env/lib/l", link("env/lib/l", "b")),
		"size":                     replace(a, file(a, "aaaa")),
	}
	for name, items := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blob := zstdOf(t, tarOf(t, items...))
			_, _, err := unpackTo(t, goodTree(), desc(bundle.MediaTypeLayerZstd, blob), blob, nil)
			if !errors.Is(err, bundle.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestHostileBlobs(t *testing.T) {
	t.Parallel()
	data := tarOf(t, goodItems()...)
	good := gzipOf(t, data, nil)
	gz, zst := bundle.MediaTypeLayerGzip, bundle.MediaTypeLayerZstd
	bomb := slices.Concat(data[:len(data)-1024], make([]byte, 64<<20))
	badCRC := slices.Clone(good)
	badCRC[len(badCRC)-6] ^= 1
	cases := map[string]struct {
		mediaType string
		blob      []byte
	}{
		"T18 zeros after the tar":   {zst, zstdOf(t, append(slices.Clone(data), make([]byte, 64<<20)...))},
		"T18 zeros in gzip":         {gz, gzipOf(t, append(slices.Clone(data), make([]byte, 64<<20)...), nil)},
		"T18 bomb":                  {zst, zstdOf(t, bomb)},
		"T23 two members":           {gz, append(slices.Clone(good), good...)},
		"T23 trailing zeros":        {gz, append(slices.Clone(good), 0, 0, 0)},
		"T23 trailing junk":         {gz, append(slices.Clone(good), "junk"...)},
		"T23 wrong CRC":             {gz, badCRC},
		"T23 name":                  {gz, gzipOf(t, data, func(h *gzip.Header) { h.Name = "x" })},
		"T23 comment":               {gz, gzipOf(t, data, func(h *gzip.Header) { h.Comment = "x" })},
		"T25 gzip over zstd":        {gz, zstdOf(t, data)},
		"T25 gzip over tar":         {gz, data},
		"T25 zstd over gzip":        {zst, good},
		"T25 plain tar":             {"application/vnd.oci.image.layer.v1.tar", data},
		"T25 encrypted":             {gz + "+encrypted", good},
		"not a tar":                 {zst, zstdOf(t, bytes.Repeat([]byte("x"), 2048))},
		"cut tar":                   {zst, zstdOf(t, data[:2048])},
		"small frame, large window": {zst, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := unpackTo(t, goodTree(), desc(c.mediaType, c.blob), c.blob, nil)
			if !errors.Is(err, bundle.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// T19: a PAX sparse file of a few bytes that announces a terabyte.
func TestSparse(t *testing.T) {
	t.Parallel()
	i := file("env/lib/a", "aaa")
	data := tarOf(t, append(goodItems()[:4], i)...)
	// archive/tar refuses to write sparse records, so an old GNU sparse header
	// is made by hand: type S and the GNU magic.
	at := bytes.Index(data, []byte("env/lib/a"))
	data[at+156] = 'S'
	copy(data[at+257:], "ustar  \x00")
	sum := 0
	copy(data[at+148:], "        ")
	for _, b := range data[at : at+512] {
		sum += int(b)
	}
	copy(data[at+148:], []byte{byte('0' + sum>>15&7), byte('0' + sum>>12&7), byte('0' + sum>>9&7), byte('0' + sum>>6&7), byte('0' + sum>>3&7), byte('0' + sum&7), 0, ' '})
	blob := zstdOf(t, data)
	if _, _, err := unpackTo(t, goodTree(), desc(bundle.MediaTypeLayerZstd, blob), blob, nil); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v", err)
	}
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

func TestMetadata(t *testing.T) {
	t.Parallel()
	env, err := (&bundle.Environment{Version: 1, Name: "env"}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	envRow := row(bundle.EnvironmentPath, string(env))
	envRow.Layer = bundle.MetadataLayer
	tree := string((&bundle.Tree{Entries: []bundle.TreeEntry{row("lib/a", "aaa"), envRow}}).Encode())
	good := []item{dir("env/"), dir("env/metalpack/"), file("env/metalpack/environment.json", string(env)), file("env/metalpack/tree", tree)}
	read := func(name string, items ...item) error {
		blob := zstdOf(t, tarOf(t, items...))
		_, _, _, err := Metadata(t.Context(), bytes.NewReader(blob), desc(bundle.MediaTypeLayerZstd, blob), name)
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
		"other name":  {dir("x/"), file("x/metalpack/environment.json", string(env)), file("x/metalpack/tree", tree)},
		"upper case":  {dir("X/")},
		"altered env": {good[0], good[1], file("env/metalpack/environment.json", string(env)+"\n"), good[3]},
	} {
		if err := read("", items...); !errors.Is(err, bundle.ErrInvalid) && !errors.Is(err, bundle.ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
