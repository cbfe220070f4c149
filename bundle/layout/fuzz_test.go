// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"archive/tar"
	"bytes"
	"errors"
	"testing"

	"github.com/metalpack/metalpack/bundle"
)

// FuzzScan: whatever an archive says, its files lie inside of it.
func FuzzScan(f *testing.F) {
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, name := range []string{"oci-layout", "./index.json", "blobs/sha256/0"} {
			if err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 2, Format: format}), second(w.Write([]byte("{}")))); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := scan(bytes.NewReader(data), int64(len(data)))
		if err != nil && !errors.Is(err, bundle.ErrInvalid) {
			t.Fatalf("untyped: %v", err)
		}
		for name, s := range entries {
			if s.offset < 0 || s.size < 0 || s.offset+s.size > int64(len(data)) || len(name) > bundle.MaxPath {
				t.Errorf("%q: %+v of %d", name, s, len(data))
			}
		}
	})
}

func second(_ int, err error) error { return err }

// FuzzIndex: an index is read, or refused by the sentinel, and comes back as it was.
func FuzzIndex(f *testing.F) {
	const sum = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"` + sum + `","size":1,"annotations":{"org.opencontainers.image.ref.name":"x"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := headOf(data); err != nil && !errors.Is(err, bundle.ErrInvalid) {
			t.Fatalf("untyped: %v", err)
		}
		entries, err := parseIndex(data)
		if err != nil {
			if !errors.Is(err, bundle.ErrInvalid) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		encoded, err := encodeIndex(entries)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseIndex(encoded); err != nil || len(again) != len(entries) {
			t.Fatalf("%d entries, then %d, %v", len(entries), len(again), err)
		}
	})
}
