// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package macho

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	data := image{commands: [][]byte{buildVersion(1, v11)}, sign: true}.bytes()
	want := facts(t, data, len(data))
	for name, r := range map[string]io.Reader{
		"at once": bytes.NewReader(data), "by bytes": iotest.OneByteReader(bytes.NewReader(data)), "end with data": iotest.DataErrReader(bytes.NewReader(data)),
	} {
		var got []File
		rc := Watch(io.NopCloser(r), func(f File) { got = append(got, f) })
		passed, err := io.ReadAll(rc)
		if err != nil || !bytes.Equal(passed, data) {
			t.Errorf("%s: %d bytes, %v", name, len(passed), err)
		}
		if n, err := rc.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%s: %d, %v after the end", name, n, err)
		}
		if d := cmp.Diff([]File{want}, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestWatchWrongFile: facts of bytes that turn out to be wrong are not told.
func TestWatchWrongFile(t *testing.T) {
	t.Parallel()
	r := io.MultiReader(bytes.NewReader(image{}.bytes()), iotest.ErrReader(bundle.ErrMismatch))
	rc := Watch(io.NopCloser(r), func(f File) { t.Errorf("got %+v", f) })
	if _, err := io.Copy(io.Discard, rc); !errors.Is(err, bundle.ErrMismatch) {
		t.Error(err)
	}
}
