// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

// words is text of n bytes that compresses as source code does, the same for
// the same seed.
func words(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "def f%d(x%d): return x%d + %d\n", r.IntN(999), r.IntN(9), r.IntN(9), r.IntN(1<<20))
	}
	return b.String()[:n]
}

// addPackages adds small packages p00, p01 … and two large ones.
func addPackages(t *testing.T, in *Input, small int) {
	t.Helper()
	for i := range small {
		name := fmt.Sprintf("p%02d", i)
		addWheel(t, in, name, map[string]string{name + "/__init__.py": "", name + "/code.py": words(uint64(i), 20_000)}, wheeltest.Options{})
	}
	for i := range 2 {
		name := fmt.Sprint("large", i)
		addWheel(t, in, name, map[string]string{name + "/data.py": words(uint64(100+i), 1<<20)}, wheeltest.Options{Store: true})
	}
}

// TestUpgrade: a new version of one small package changes its bucket and the
// metadata, and nothing else is built or downloaded again.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	in := input(t)
	addPackages(t, &in, 30)
	before := blobsOf(t, assemble(t, in))

	const name = "p07"
	i := slices.IndexFunc(in.Wheels, func(w Wheel) bool { return w.Name == name })
	upgraded := in
	upgraded.Wheels = slices.Delete(slices.Clone(in.Wheels), i, i+1)
	addWheel(t, &upgraded, name, map[string]string{name + "/__init__.py": "", name + "/code.py": words(7, 20_100)}, wheeltest.Options{})
	var mu sync.Mutex
	var built []string
	upgraded.Events = func(e bundle.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == bundle.EventStarted {
			built = append(built, strings.TrimPrefix(e.What, "layer "))
		}
	}
	after := blobsOf(t, assemble(t, upgraded))

	var changed []string
	var cost, total int64
	for layer, desc := range after {
		total += desc.Size
		if before[layer].Digest != desc.Digest {
			changed = append(changed, layer)
			cost += desc.Size
		}
	}
	slices.Sort(changed)
	slices.Sort(built)
	want := []string{layerOf(name, 1), bundle.MetadataLayer}
	if d := cmp.Diff(want, changed); d != "" {
		t.Errorf("changed: %s", d)
	}
	if d := cmp.Diff(want, built); d != "" {
		t.Errorf("built: %s", d)
	}
	t.Logf("the upgrade costs %d of %d bytes, in %d of %d layers", cost, total, len(changed), len(after))
	if len(after) != len(before) || cost > total/10 {
		t.Errorf("%d layers, were %d; %d of %d bytes", len(after), len(before), cost, total)
	}
}

// blobsOf returns the layers of the zstd manifest by name.
func blobsOf(t *testing.T, a *Artifact) map[string]bundle.Descriptor {
	t.Helper()
	data, err := a.Manifest(t.Context(), a.Root())
	if err != nil {
		t.Fatal(err)
	}
	x, err := bundle.ParseIndex(data)
	if err != nil {
		t.Fatal(err)
	}
	layers := map[string]bundle.Descriptor{}
	for _, l := range manifest(t, a, x.Manifests[1]).Layers {
		layers[l.Annotations[bundle.AnnotationLayer]] = l
	}
	return layers
}

// TestParallel: how many layers are built at once, and which compressor was
// used for what before, does not show.
func TestParallel(t *testing.T) {
	t.Parallel()
	in := input(t)
	in.Gzip = -1
	addPackages(t, &in, 8)
	var first bundle.Descriptor
	for _, parallel := range []int{1, 8} {
		in.Parallel, in.CacheDir = parallel, t.TempDir()
		root := assemble(t, in).Root()
		if first.Digest == "" {
			first = root
		}
		if root.Digest != first.Digest {
			t.Errorf("%d at once: %s, want %s", parallel, root.Digest, first.Digest)
		}
	}
}

// TestEncoders: a compressor that was used before, and one that is fed in other
// pieces, write what a new one writes.
func TestEncoders(t *testing.T) {
	t.Parallel()
	texts := []string{words(1, 400_000), "", words(2, 300), words(1, 400_000)[100_000:], strings.Repeat("\x00", 200_000)}
	for _, in := range []Input{{Zstd: "fast"}, {Zstd: "release", Gzip: -1}} {
		codecs, err := in.codecs()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range codecs {
			var pool encoders
			for i, text := range texts {
				want := encode(t, new(encoders), c, text, len(text)+1)
				for _, piece := range []int{997, 64 << 10} {
					if got := encode(t, &pool, c, text, piece); !bytes.Equal(got, want) {
						t.Errorf("%s: text %d in pieces of %d differs", c.label, i, piece)
					}
				}
			}
		}
	}
}

func encode(t *testing.T, pool *encoders, c codec, text string, piece int) []byte {
	t.Helper()
	var out bytes.Buffer
	enc, err := pool.take(c, &out)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := range slices.Chunk([]byte(text), piece) {
		if _, err := enc.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	pool.give(c, enc)
	return out.Bytes()
}

// flip changes one byte in the middle of a file, or cuts the file there.
func flip(t *testing.T, name string, cut bool) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if cut {
		data = data[:len(data)/2]
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// only returns the one file that a pattern in the cache matches.
func only(t *testing.T, in Input, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(in.CacheDir, pattern))
	if err != nil || len(names) != 1 {
		t.Fatalf("%s: %q, %v", pattern, names, err)
	}
	return names[0]
}
