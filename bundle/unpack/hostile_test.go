// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"archive/tar"
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/metalpack/metalpack/bundle"
)

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
		"T9 dot is a link":       replace("env/", link(".", "/tmp")),
		"T10 directory on link":  append(goodItems(), dir("env/lib/l/")),
		"T11 twice":              append(goodItems(), file(a, "aaa")),
		"T11 directory twice":    append(goodItems(), dir("env/lib/")),
		"T12 other case":         replace(a, file("env/lib/A", "aaa")),
		"T16 FIFO":               replace(a, with(file(a, ""), func(h *tar.Header) { h.Typeflag = tar.TypeFifo })),
		"T16 device":             replace(a, with(file(a, ""), func(h *tar.Header) { h.Typeflag = tar.TypeChar })),
		"T16 device numbers":     change(a, func(h *tar.Header) { h.Devmajor = 1 }),
		"T6 target of a file":    change(a, func(h *tar.Header) { h.Linkname = "b" }),
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
		"T26 opaque":             append(goodItems(), file("env/lib/.wh..wh..opq", "")),
		"T26 three dots":         append(goodItems(), file("env/lib/.wh...", "")),
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
			if want := refusals()[name]; !errors.Is(err, bundle.ErrInvalid) || want == "" || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
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
			if want := refusals()[name]; !errors.Is(err, bundle.ErrInvalid) || want == "" || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
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
