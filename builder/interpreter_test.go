// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"bytes"
	"io"
	"os"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// TestCompressedInterpreter: the archive's packing changes environment.json
// (its sha256 stands there) and no file of the interpreter.
func TestCompressedInterpreter(t *testing.T) {
	t.Parallel()
	in := input(t)
	plain := newPlan(t, in)
	data, err := os.ReadFile(in.Interpreter.Path)
	if err != nil {
		t.Fatal(err)
	}
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, z} {
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, packed := range [][]byte{gz.Bytes(), zs.Bytes()} {
		setInterpreter(t, &in, packed)
		p := newPlan(t, in)
		if p.Layers[0].Identity != plain.Layers[0].Identity {
			t.Error("the interpreter layer changed")
		}
		if _, err := p.Build(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
