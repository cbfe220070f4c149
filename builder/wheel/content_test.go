// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

// TestDeflated reads a content by its stream, and again when the file has changed
// in between: nobody has verified those bytes.
func TestDeflated(t *testing.T) {
	t.Parallel()
	want := strings.Repeat("import demo\n", 500)
	data := wheeltest.Build("demo", "1.0", map[string]string{"demo.py": want}, wheeltest.Options{})
	w, err := open(data, wheeltest.FileName("demo", "1.0", wheeltest.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	files, err := w.Files(func(p string) bool { return !strings.HasSuffix(p, "/demo.py") })
	if err != nil || len(files) != 2 || files[1].member == nil { // after RECORD
		t.Fatalf("%v, %v", files, err)
	}
	for _, change := range []bool{false, true} {
		rc, err := files[1].Open()
		if err != nil {
			t.Fatal(err)
		}
		d, ok := rc.(Deflated)
		if !ok {
			t.Fatal("a content without a stream")
		}
		if _, _, _, whole := d.Deflated(); whole {
			t.Error("whole before it was read")
		}
		if _, err := io.Copy(io.Discard, rc); err != nil {
			t.Fatal(err)
		}
		stream, lastBlock, end, whole := d.Deflated()
		if !whole || lastBlock >= end {
			t.Errorf("last block from bit %d to %d, whole: %t", lastBlock, end, whole)
		}
		if change {
			data[files[1].member.data+5] ^= 1
		}
		packed, err := io.ReadAll(stream)
		if change != errors.Is(err, bundle.ErrMismatch) {
			t.Errorf("changed: %t: %v", change, err)
		}
		if !change {
			if got, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed))); err != nil || string(got) != want {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		}
		if err := rc.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
