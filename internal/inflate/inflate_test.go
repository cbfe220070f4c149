// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// deflate packs data as compress/flate does at a level.
func deflate(tb testing.TB, data []byte, level int) []byte {
	tb.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// inputs are contents that take each way through the decoder.
func inputs() map[string][]byte {
	random := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, 300<<10)
	_, _ = random.Read(noise) // never fails
	var text, repeats bytes.Buffer
	for i := range 40000 {
		fmt.Fprintf(&text, "def f_%d(self): return self.value[%d]\n", i%977, i*i%1013)
	}
	// Matches of every short distance, each longer than a word or two.
	for d := 1; d < 40; d++ {
		repeats.Write(bytes.Repeat(noise[d*100:d*100+d], 2+120/d))
	}
	far := append(bytes.Clone(noise[:window]), noise[:window]...) // matches from as far as they can come
	skewed := make([]byte, 200<<10)                               // codes of up to 15 bits
	for i := range skewed {
		v := 0
		for v < 40 && noise[(i*7+v*31)%len(noise)]&1 == 0 {
			v++
		}
		skewed[i] = byte(v)
	}
	return map[string][]byte{
		"nothing": nil, "one byte": {7}, "noise": noise, "text": text.Bytes(), "zeros": make([]byte, 1<<20),
		"repeats": repeats.Bytes(), "far": far, "skewed": skewed, "short": []byte("import os, os.path\n"),
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	var r Reader // one for all, as a build has it
	for name, want := range inputs() {
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			packed := deflate(t, want, level)
			for how, src := range map[string]io.Reader{
				"whole": bytes.NewReader(packed), "halves": iotest.HalfReader(bytes.NewReader(packed)), "with EOF": iotest.DataErrReader(bytes.NewReader(packed)),
			} {
				r.Reset(src)
				got, err := io.ReadAll(iotest.HalfReader(&r))
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%s, level %d, %s: %d bytes, %v; want %d", name, level, how, len(got), err, len(want))
				}
			}
		}
	}
}

// TestCut ends the input at each byte, and lets it go on.
func TestCut(t *testing.T) {
	t.Parallel()
	var r Reader
	for _, level := range []int{flate.NoCompression, flate.HuffmanOnly, flate.BestCompression} {
		packed := deflate(t, []byte(strings.Repeat("what ends early is an error. ", 50)), level)
		for n := range packed {
			r.Reset(bytes.NewReader(packed[:n]))
			if _, err := io.ReadAll(&r); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("level %d: %d of %d bytes: %v", level, n, len(packed), err)
			}
		}
		r.Reset(bytes.NewReader(append(packed, 0)))
		if _, err := io.ReadAll(&r); !errors.Is(err, ErrTrailing) {
			t.Errorf("level %d: a byte more: %v", level, err)
		}
		broken := errors.New("broken disk")
		r.Reset(io.MultiReader(bytes.NewReader(packed[:len(packed)/2]), iotest.ErrReader(broken)))
		if _, err := io.ReadAll(&r); !errors.Is(err, broken) {
			t.Errorf("level %d: a source that breaks: %v", level, err)
		}
	}
}

func TestCorrupt(t *testing.T) {
	t.Parallel()
	for name, packed := range map[string]string{
		"block type 3":                      "07",
		"stored length":                     "0105000000",
		"distance before the start":         "4b0442", // "a", then a match of distance 2
		"code 286":                          "1b03",
		"distance code 30":                  "4b043e",
		"no end of block":                   "05c0810000000000900a",
		"too many codes of one length":      "05e0ffffffffffffffffffffff",
		"repeated length with none before":  "050080244992244992",
		"more codes than there are lengths": "fdffffffffffffffff",
	} {
		data, err := hex.DecodeString(packed)
		if err != nil {
			t.Fatal(err)
		}
		var r Reader
		r.Reset(bytes.NewReader(append(data, make([]byte, 32)...)))
		if got, err := io.ReadAll(&r); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// FuzzReader compares with compress/flate. What it takes we take, but for bytes
// after the end; what it refuses we refuse.
func FuzzReader(f *testing.F) {
	for _, data := range inputs() {
		data = data[:min(len(data), 4<<10)]
		for _, level := range []int{flate.NoCompression, flate.HuffmanOnly, flate.BestSpeed, flate.BestCompression} {
			f.Add(deflate(f, data, level))
		}
	}
	f.Fuzz(func(t *testing.T, packed []byte) {
		const limit = 4 << 20
		src := bytes.NewReader(packed)
		want, werr := io.ReadAll(io.LimitReader(flate.NewReader(src), limit))
		var r Reader
		r.Reset(bytes.NewReader(packed[:len(packed)-src.Len()]))
		got, err := io.ReadAll(io.LimitReader(&r, limit))
		if (err == nil) != (werr == nil) {
			t.Fatalf("%v, compress/flate says %v", err, werr)
		}
		if !bytes.HasPrefix(got, want) && !bytes.HasPrefix(want, got) || err == nil && len(got) != len(want) {
			t.Fatalf("%d bytes, compress/flate says %d, or others", len(got), len(want))
		}
	})
}

func BenchmarkReader(b *testing.B) {
	for name, data := range inputs() {
		if len(data) < 64<<10 {
			continue
		}
		packed := deflate(b, data, 6)
		var ours Reader
		theirs := flate.NewReader(nil)
		again, ok := theirs.(flate.Resetter)
		if !ok {
			b.Fatal("a decoder that cannot be used again")
		}
		b.Run(name+"/inflate", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				ours.Reset(bytes.NewReader(packed))
				_, _ = io.Copy(io.Discard, &ours) // tested above
			}
		})
		b.Run(name+"/compress-flate", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				_ = again.Reset(bytes.NewReader(packed), nil)
				_, _ = io.Copy(io.Discard, theirs)
			}
		})
	}
}
