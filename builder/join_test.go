// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
)

// TestJoin builds an environment whose wheels have members of all kinds, packed
// at every level and stored, and lets another decoder read what the joiner made:
// its layers must be those of the compressors, byte for byte.
func TestJoin(t *testing.T) {
	t.Parallel()
	in := input(t)
	noise := make([]byte, 200<<10)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(noise) // never fails
	files := map[string]string{"joined/__init__.py": "", "joined/noise.bin": string(noise)}
	for i := range 60 { // streams that end on each bit of a byte
		files[fmt.Sprintf("joined/m%02d.py", i)] = strings.Repeat(fmt.Sprintf("value_%d = %d\n", i, i*i), 1+i*i)
	}
	addWheel(t, &in, "joined", files, wheeltest.Options{})
	addWheel(t, &in, "stored", map[string]string{"stored/data.bin": string(noise[:70<<10]), "stored/a.py": "a"}, wheeltest.Options{Store: true})
	want := map[string]bool{}
	for _, d := range diffIDs(t, in) {
		want[d] = true
	}
	in.Gzip, in.Zstd = GzipJoin, zstdNone
	got := diffIDs(t, in)
	for _, d := range got {
		if !want[d] {
			t.Errorf("a joined layer is %s, which no compressor made", d)
		}
	}
	if len(got) == 0 || len(got) != len(want) {
		t.Errorf("%d layers, want %d", len(got), len(want))
	}
}

// TestJoinBesideZstd wants the same blobs whatever else is made of the stream.
func TestJoinBesideZstd(t *testing.T) {
	t.Parallel()
	in := input(t)
	in.Gzip, in.Zstd = GzipJoin, zstdNone
	var digests [2][]string
	for i, zstd := range []string{zstdNone, "fast"} {
		in.CacheDir, in.Zstd = t.TempDir(), zstd
		v, err := newPlan(t, in).Build(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range v.layers {
			digests[i] = append(digests[i], l.blobs[0].desc.Digest.String())
		}
	}
	if d := cmp.Diff(digests[0], digests[1]); d != "" {
		t.Error(d)
	}
}

// diffIDs builds in, and hashes what another library finds in its gzip layers.
func diffIDs(t *testing.T, in Input) (sums []string) {
	t.Helper()
	v, err := newPlan(t, in).Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range v.layers {
		rc, err := l.blobs[0].open(0)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(rc)
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		data, err := io.ReadAll(z)
		if err := errors.Join(err, rc.Close()); err != nil {
			t.Fatalf("%s: %v", l.name, err)
		}
		sum := "sha256:" + hexSum(data)
		if sum != l.diffID.String() {
			t.Errorf("%s: its blob holds %s, want %s", l.name, sum, l.diffID)
		}
		sums = append(sums, sum)
	}
	return sums
}

// TestJoinedFromOthers takes a wheel that holds the same files in another
// stream: the layer is the same, its blob must not be the other's.
func TestJoinedFromOthers(t *testing.T) {
	t.Parallel()
	in := input(t)
	in.Gzip, in.Zstd = GzipJoin, zstdNone
	files := map[string]string{"twice/a.py": strings.Repeat("print('the same text')\n", 4000)}
	in.Wheels = slices.Clip(in.Wheels)
	a, b := in, in
	addWheel(t, &a, "twice", files, wheeltest.Options{})
	addWheel(t, &b, "twice", files, wheeltest.Options{Store: true})
	first := assemble(t, a).Root()
	second := assemble(t, b).Root()
	fresh := b
	fresh.CacheDir = t.TempDir()
	if got := assemble(t, fresh).Root(); got.Digest != second.Digest || got.Digest == first.Digest {
		t.Errorf("%s with the other's cache, %s without: %s of the other", second.Digest, got.Digest, first.Digest)
	}
}

// cutStream is a content that was not read to its end when it is closed.
type cutStream struct{ io.ReadCloser }

// Deflated implements wheel.Deflated.
func (cutStream) Deflated() (stream io.Reader, lastBlock, end int64, whole bool) {
	return bytes.NewReader(nil), 0, 0, false
}

func TestJoinRefusesHalf(t *testing.T) {
	t.Parallel()
	enc, err := newJoiner()
	if err != nil {
		t.Fatal(err)
	}
	j, _ := enc.(*joiner)
	j.Reset(io.Discard)
	content := cutStream{io.NopCloser(strings.NewReader("half"))}
	rc := j.join(content, content)
	if _, err := io.CopyN(j, rc, 2); err != nil {
		t.Fatal(err)
	}
	if err := rc.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); !errors.Is(err, errJoined) {
		t.Errorf("got %v", err)
	}
}
