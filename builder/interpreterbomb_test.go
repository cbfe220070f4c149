// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

// TestInterpreterBombs: an archive that is small and would unpack to what no
// machine holds ends at a cap, with nothing left in the cache.
func TestInterpreterBombs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"directories": {zipped(t, entries(t, tar.TypeDir, "python/d%d/", "")), "more than 30000 entries"},
		"links":       {zipped(t, entries(t, tar.TypeSymlink, "python/l%d", "x")), "more than 30000 entries"},
		"long links":  {zipped(t, entries(t, tar.TypeSymlink, "python/l%d", strings.Repeat("x", 500))), `"python/l8194": with it the names have more than 4194304 bytes`},
	} {
		in := input(t)
		setInterpreter(t, &in, c.data)
		if _, err := Preview(t.Context(), in); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "cpython.tar: "+c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInterpreterZeros: what follows the end of the tar counts too.
func TestInterpreterZeros(t *testing.T) {
	t.Parallel()
	in := input(t)
	good := wheeltest.Interpreter("darwin", "arm64", nil)
	setInterpreter(t, &in, append(zipped(t, good), zipped(t, make([]byte, 1<<20))...))
	s, err := newInterpreterStore(&in, false)
	if err != nil {
		t.Fatal(err)
	}
	for most, want := range map[int64]string{int64(len(good)) + 1<<20: "<nil>", int64(len(good)): fmt.Sprintf("unpacks to more than %d bytes: invalid", len(good)), 1000: "unpacks to more than 1000 bytes: invalid"} {
		s.most = most
		if _, err := s.scan(t.Context()); fmt.Sprint(err) != want {
			t.Errorf("%d: %v, want %s", most, err, want)
		}
	}
}

// entries is an archive of one entry more than there may be.
func entries(t *testing.T, kind byte, name, target string) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for i := range maxInterpreterEntries + 1 {
		if err := tw.WriteHeader(&tar.Header{Name: fmt.Sprintf(name, i), Typeflag: kind, Linkname: target, Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestLiveLinks: a long chain of links is followed once, whatever the order of a
// map; circles and dead ends are left out.
func TestLiveLinks(t *testing.T) {
	t.Parallel()
	links := map[string]string{"a": "b", "b": "a", "self": "self", "dead": "nowhere", "d/up": "../file", "dir": "d", "end": "dead"}
	want := []string{"d/up", "dir"}
	const long = 20_000
	for i := range long {
		p := fmt.Sprintf("l%05d", i)
		links[p] = fmt.Sprintf("l%05d", i+1)
		want = append(want, p)
	}
	links[fmt.Sprintf("l%05d", long)] = "file"
	want = append(want, fmt.Sprintf("l%05d", long))
	there := map[string]bool{"file": true, "d": true, "d/x": true}
	got := liveLinks(links, maps.Clone(there))
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
