// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/metalpack/metalpack/bundle"
)

// entry is one entry of a hostile archive.
type entry struct {
	name string
	typ  byte
	data string
	link string
}

func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.typ, Size: int64(len(e.data)), Linkname: e.link, Mode: 0o4777, Uid: 7, Uname: "someone"}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

func packed(kind string, data []byte) bundle.Descriptor {
	return bundle.Descriptor{MediaType: modelPackPrefix + kind, Data: data}
}

func TestPullOfArchives(t *testing.T) {
	t.Parallel()
	m := artifact(t,
		packed("weight.v1.tar", tarOf(t, entry{"w", tar.TypeDir, "", ""}, entry{"w/a.safetensors", tar.TypeReg, "aa", ""})),
		packed("weight.config.v1.tar+gzip", gzipped(t, tarOf(t, entry{"config.json", tar.TypeReg, "{}", ""}))),
		packed("doc.v1.tar+zstd", zstded(t, tarOf(t, entry{"README.md", tar.TypeReg, "hi", ""}))),
		raw("raw.json", "raw"),
	)
	dir := filepath.Join(t.TempDir(), "out")
	if err := Pull(t.Context(), m, m.root, dir, PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"w/a.safetensors": "aa", "config.json": "{}", "README.md": "hi", "raw.json": "raw"}, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(filepath.Join(dir, "config.json")); err != nil || info.Mode().Perm()&^0o644 != 0 {
		t.Errorf("%v, %v: the archive's mode was taken", info.Mode(), err)
	}
	some := filepath.Join(t.TempDir(), "some")
	if err := Pull(t.Context(), m, m.root, some, PullOptions{Include: []string{"*.json"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"config.json": "{}", "raw.json": "raw"}, tree(t, some)); diff != "" {
		t.Error(diff)
	}
	if err := m.model(t).CheckServable(); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "archives") {
		t.Errorf("got %v", err)
	}
	if _, err := Stored(m, m.model(t)).List(t.Context()); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// HOSTILE rows T and Z of archives, and nothing outside the directory.
func TestPullOfHostileArchives(t *testing.T) {
	t.Parallel()
	reg := func(name string) entry { return entry{name, tar.TypeReg, "x", ""} }
	plain := func(entries ...entry) []bundle.Descriptor {
		return []bundle.Descriptor{raw("ok.json", "{}"), packed("weight.v1.tar", tarOf(t, entries...))}
	}
	bomb := make([]byte, minArchiveBudget+1<<20)
	good := tarOf(t, reg("a"))
	tests := []struct {
		name   string
		layers []bundle.Descriptor
		want   string
	}{
		{"T1 absolute", plain(reg("/etc/x")), "absolute"},
		{"T1 backslash", plain(reg(`C:\x`)), "backslash"},
		{"T2 traversal", plain(reg("a/../../x")), "clean path"},
		{"T2 the root", plain(entry{"./", tar.TypeDir, "", ""}), "empty"},
		{"T2 escape", plain(reg("a\x1bb")), "control"},
		{"T3 symlink", plain(entry{"l", tar.TypeSymlink, "", "/outside"}, reg("l/x")), "refused"},
		{"T6 hard link", plain(reg("a"), entry{"b", tar.TypeLink, "", "a"}), "refused"},
		{"T11 twice", plain(reg("a"), reg("a")), "twice"},
		{"T11 file and directory", plain(reg("a"), reg("a/b")), "twice"},
		{"T11 of another layer", plain(reg("ok.json")), "twice"},
		{"T12 by case", plain(reg("a"), reg("A")), ""},
		{"T13 by form", plain(reg("caf\u00e9"), reg("cafe\u0301")), ""},
		{"T16 device", plain(entry{"d", tar.TypeChar, "", ""}), "refused"},
		{"T16 FIFO", plain(entry{"d", tar.TypeFifo, "", ""}), "refused"},
		{"T18 gzip bomb", []bundle.Descriptor{packed("doc.v1.tar+gzip", gzipped(t, append(tarOf(t, reg("a")), bomb...)))}, "more bytes"},
		{"T18 zstd bomb", []bundle.Descriptor{packed("doc.v1.tar+zstd", zstded(t, append(tarOf(t, reg("a")), bomb...)))}, "more bytes"},
		{"T23 two members", []bundle.Descriptor{packed("doc.v1.tar+gzip", append(gzipped(t, good), gzipped(t, good)...))}, "after its end"},
		{"T23 junk", []bundle.Descriptor{packed("doc.v1.tar+gzip", append(gzipped(t, good), "junk"...))}, "after its end"},
		{"T23 cut", []bundle.Descriptor{packed("doc.v1.tar+gzip", gzipped(t, good)[:40])}, "EOF"},
		{"T25 gzip named zstd", []bundle.Descriptor{packed("doc.v1.tar+zstd", gzipped(t, good))}, ""},
		{"T26 whiteout", plain(reg(".wh.x")), "whiteouts"},
		{"bytes after the end", []bundle.Descriptor{packed("weight.v1.tar", append(good, "more"...))}, "after the end"},
		{"not a tar", []bundle.Descriptor{packed("weight.v1.tar", bytes.Repeat([]byte("x"), 2048))}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			if err := os.WriteFile(filepath.Join(base, "canary"), []byte("alive"), 0o600); err != nil {
				t.Fatal(err)
			}
			m := artifact(t, tt.layers...)
			err := Pull(t.Context(), m, m.root, filepath.Join(base, "out"), PullOptions{})
			if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if diff := cmp.Diff(map[string]string{"canary": "alive"}, tree(t, base)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
