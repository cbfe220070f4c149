// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"archive/zip"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/metalpack/metalpack/internal/inflate"
)

// BenchmarkParts is the work that no build can do without, each part alone on
// one processor: all members of the wheels in METALPACK_BENCH_WHEELS inflated,
// hashed, and compressed. A build inflates and compresses each byte once and
// hashes it twice: against RECORD, and as part of its layer.
func BenchmarkParts(b *testing.B) {
	dir := os.Getenv("METALPACK_BENCH_WHEELS")
	if dir == "" {
		b.Skip("METALPACK_BENCH_WHEELS names no directory")
	}
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(wheels) == 0 {
		b.Fatalf("%s: no wheels, %v", dir, err)
	}
	b.Run("inflate", func(b *testing.B) { inflateAll(b, wheels, io.Discard) })
	b.Run("inflate+sha256", func(b *testing.B) { inflateAll(b, wheels, sha256.New()) })
	for _, in := range []Input{{Zstd: "fast", Gzip: -1}, {Zstd: "release", Gzip: -1}, {Zstd: zstdNone}} {
		codecs, err := in.codecs()
		if err != nil {
			b.Fatal(err)
		}
		b.Run("inflate+"+codecs[0].label, func(b *testing.B) {
			enc, err := new(encoders).take(codecs[0], io.Discard)
			if err != nil {
				b.Fatal(err)
			}
			inflateAll(b, wheels, enc)
		})
	}
}

// inflateAll writes every member of the wheels to w.
func inflateAll(b *testing.B, wheels []string, w io.Writer) {
	b.Helper()
	z := new(inflate.Reader)
	buf := make([]byte, 256<<10)
	for b.Loop() {
		var total int64
		for _, name := range wheels {
			r, err := zip.OpenReader(name)
			if err != nil {
				b.Fatal(err)
			}
			r.RegisterDecompressor(zip.Deflate, func(packed io.Reader) io.ReadCloser {
				z.Reset(packed)
				return io.NopCloser(z)
			})
			for _, f := range r.File {
				rc, err := f.Open()
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.CopyBuffer(struct{ io.Writer }{w}, rc, buf)
				if err != nil {
					b.Fatal(err)
				}
				total += n
				_ = rc.Close()
			}
			_ = r.Close()
		}
		b.SetBytes(total)
	}
}
