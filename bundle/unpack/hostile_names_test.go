// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/bundle"
)

// raw is an entry as archive/tar would never write it: any name, type, size
// field and magic, with the content as it is.
type raw struct {
	name     string
	typeflag byte
	size     int64
	magic    string // "" = USTAR
	data     string
}

// rawTar is a tar of such entries after the directories of the good layer.
func rawTar(tb testing.TB, entries ...raw) []byte {
	tb.Helper()
	good := tarOf(tb, dir("env/"), dir("env/bin/"), with(file("env/bin/run", "#!"), func(h *tar.Header) { h.Mode = 0o755 }), dir("env/lib/"))
	out := good[:len(good)-1024]
	for _, e := range entries {
		var h [512]byte
		copy(h[:100], e.name)
		copy(h[100:], "0000644\x000000000\x000000000\x00")
		copy(h[124:], fmt.Sprintf("%011o\x00", e.size))
		copy(h[136:], "00000000000\x00        ")
		h[156] = e.typeflag
		copy(h[257:], "ustar\x0000")
		if e.magic != "" {
			copy(h[257:], e.magic)
		}
		sum := 0
		for _, b := range h {
			sum += int(b)
		}
		copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
		out = append(append(out, h[:]...), e.data...)
		out = append(out, make([]byte, (512-len(e.data)%512)%512)...)
	}
	return append(out, make([]byte, 1024)...)
}

// pax are the records of an extended header.
func pax(records ...string) raw {
	var b strings.Builder
	for _, r := range records {
		n := len(r) + 3
		for len(strconv.Itoa(n))+len(r)+2 != n {
			n = len(strconv.Itoa(n)) + len(r) + 2
		}
		fmt.Fprintf(&b, "%d %s\n", n, r)
	}
	return raw{name: "env/PaxHeaders/a", typeflag: tar.TypeXHeader, size: int64(b.Len()), data: b.String()}
}

func TestHostileHeaders(t *testing.T) {
	t.Parallel()
	a := raw{name: "env/lib/a", typeflag: tar.TypeReg, size: 3, data: "aaa"}
	typed := func(flag byte) raw { e := a; e.typeflag = flag; return e }
	named := func(name string) raw { e := a; e.name = name; return e }
	const terabyte = 1 << 40
	cases := map[string][]raw{
		"T2 trailing slash on a file":   {named("env/lib/a/")},
		"T2 escape":                     {named("env/lib/a\x1b[2J")},
		"T2 empty":                      {named("")},
		"T2 dot":                        {named(".")},
		"T2 NUL in PAX":                 {pax("path=env/lib/a\x00b"), a},
		"T9 dot as a link":              {{name: ".", typeflag: tar.TypeSymlink}},
		"T13 NFD":                       {pax("path=env/lib/cafe\u0301"), a},
		"T13 NFC":                       {pax("path=env/lib/caf\u00e9"), a},
		"T13 sharp s":                   {pax("path=env/lib/stra\u00dfe"), a},
		"T13 ligature":                  {pax("path=env/lib/\ufb01"), a},
		"T13 Kelvin":                    {pax("path=env/lib/\u212a"), a},
		"T15 not UTF-8":                 {named("env/lib/\xff\xfe")},
		"T15 not UTF-8 in PAX":          {pax("path=env/lib/a\xff"), a},
		"T15 trailing dot":              {named("env/lib/a.")},
		"T15 trailing blank":            {named("env/lib/a ")},
		"T15 device":                    {named("env/lib/CON")},
		"T15 device with a suffix":      {named("env/lib/aux.py")},
		"T15 stream":                    {named("env/lib/a:b")},
		"T16 contiguous":                {typed(tar.TypeCont)},
		"T16 multivolume":               {typed('M')},
		"T16 unknown":                   {typed('Z')},
		"T16 socket of old":             {typed('s')},
		"T16 global header":             {{name: "g", typeflag: tar.TypeXGlobalHeader, size: 9, data: "9 path=x\n"}, a},
		"T16 GNU long name":             {{name: "././@LongLink", typeflag: tar.TypeGNULongName, size: 10, magic: "ustar  \x00", data: "env/lib/a\x00"}, a},
		"T19 GNU sparse":                {{name: "env/lib/a", typeflag: tar.TypeGNUSparse, size: 3, magic: "ustar  \x00", data: "aaa"}},
		"T19 PAX sparse 0.0":            {pax("GNU.sparse.size=1099511627776", "GNU.sparse.numblocks=1", "GNU.sparse.offset=0", "GNU.sparse.numbytes=3"), a},
		"T19 PAX sparse 0.1":            {pax("GNU.sparse.size=1099511627776", "GNU.sparse.numblocks=1", "GNU.sparse.map=0,3", "GNU.sparse.name=env/lib/a"), a},
		"T19 PAX sparse 1.0":            {pax("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=env/lib/a", "GNU.sparse.realsize=1099511627776"), {name: "env/lib/a", typeflag: tar.TypeReg, size: 512, data: "1\n0\n3\n" + strings.Repeat("\x00", 506)}},
		"T19 PAX sparse of equal size":  {pax("GNU.sparse.size=3", "GNU.sparse.numblocks=1", "GNU.sparse.map=0,3"), a},
		"T19 PAX size":                  {pax("size=1099511627776"), a},
		"T19 size of the header":        {{name: "env/lib/a", typeflag: tar.TypeReg, size: terabyte >> 8, data: "aaa"}},
		"T19 negative size":             {pax("size=-1"), a},
		"T21 path of 5,000 bytes":       {pax("path=env/" + strings.Repeat("d/", 2500) + "a"), a},
		"T21 component of 256":          {pax("path=env/lib/" + strings.Repeat("c", 256)), a},
		"T21 depth 500":                 {pax("path=env/" + strings.Repeat("d/", 500) + "a"), a},
		"T21 PAX records of a megabyte": {pax("path=env/lib/a", "comment="+strings.Repeat("x", 1<<20)), a},
	}
	for name, entries := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blob := zstdOf(t, rawTar(t, entries...))
			_, _, err := unpackTo(t, goodTree(), desc(bundle.MediaTypeLayerZstd, blob), blob, nil)
			if want := refusals()[name]; !errors.Is(err, bundle.ErrInvalid) || want == "" || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			if err != nil && (len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\x00\x1b\n")) {
				t.Errorf("the error is not one short printable line: %q", err)
			}
		})
	}
}

// The entries above are refused for what is wrong with them: sound ones pass.
func TestSoundHeaders(t *testing.T) {
	t.Parallel()
	blob := zstdOf(t, rawTar(t, pax("path=env/lib/a", "size=3"), raw{name: "x", typeflag: tar.TypeReg, data: "aaa"}, raw{name: "env/lib/b", typeflag: tar.TypeReg, size: 2, data: "bb"}))
	_, stats, err := unpackTo(t, goodTree(), desc(bundle.MediaTypeLayerZstd, blob), blob, nil)
	if stats.Written != 3 || err == nil || !strings.Contains(err.Error(), `1 of 4 files did not come, "lib/l" among them`) {
		t.Errorf("%+v, %v", stats, err)
	}
}

// T21: five million empty files end at the first that is not in the tree.
func TestManyEntries(t *testing.T) {
	t.Parallel()
	many := make([]raw, 5000)
	for i := range many {
		many[i] = raw{name: fmt.Sprintf("env/lib/%d", i), typeflag: tar.TypeReg}
	}
	blob := zstdOf(t, rawTar(t, many...))
	_, stats, err := unpackTo(t, goodTree(), desc(bundle.MediaTypeLayerZstd, blob), blob, nil)
	if !errors.Is(err, bundle.ErrInvalid) || stats.Written > 1 {
		t.Errorf("%+v, %v", stats, err)
	}
}

// The same through the metadata layer, which no tree vouches for.
func TestHostileMetadata(t *testing.T) {
	t.Parallel()
	for name, entries := range map[string][]raw{
		"T15": {{name: "env/metalpack/aux", typeflag: tar.TypeReg}},
		"T16": {{name: "env/metalpack/tree", typeflag: tar.TypeFifo}},
		"T19": {pax("GNU.sparse.size=1099511627776", "GNU.sparse.numblocks=0", "GNU.sparse.map="), {name: "env/metalpack/tree", typeflag: tar.TypeReg}},
		"T18": {{name: "env/metalpack/tree", typeflag: tar.TypeReg, size: 1 << 30}},
		"T11": {{name: "env/metalpack/tree", typeflag: tar.TypeReg}, {name: "env/metalpack/tree", typeflag: tar.TypeReg}},
	} {
		full := rawTar(t, entries...)
		at := bytes.Index(full, []byte("env/bin/"))
		blob := zstdOf(t, slices.Concat(full[:at], full[at+4*512:])) // without bin/, its file and lib/
		_, _, _, err := readMetadata(t.Context(), bytes.NewReader(blob), desc(bundle.MediaTypeLayerZstd, blob), "env")
		if !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A file of the metadata layer is refused by the size in its header, before
// room is made for it.
func TestLargeMetadata(t *testing.T) {
	t.Parallel()
	for p, size := range map[string]int64{bundle.EnvironmentPath: MaxEnvironment, bundle.TreePath: bundle.MaxTree, "metalpack/more": 32 << 20} {
		blob := zstdOf(t, rawTar(t, raw{name: "env/" + p, typeflag: tar.TypeReg, size: size + 1})[5*512:]) // without the good ones
		_, _, _, err := readMetadata(t.Context(), bytes.NewReader(blob), desc(bundle.MediaTypeLayerZstd, blob), "env")
		if want := fmt.Sprintf("%q: %d bytes, more than %d", p, size+1, size); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
