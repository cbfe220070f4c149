// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/metalpack/metalpack/bundle"
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

// pack compresses the input's interpreter archive.
func pack(t *testing.T, in *Input) {
	t.Helper()
	data, err := os.ReadFile(in.Interpreter.Path)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	setInterpreter(t, in, packed.Bytes())
}

// TestInterpreterMemo: what a build remembers of an archive serves the next
// build, whatever that strips, and is made anew when it is damaged.
func TestInterpreterMemo(t *testing.T) {
	t.Parallel()
	in := input(t)
	pack(t, &in)
	want := newPlan(t, in).TreeDigest
	memo, expanded := only(t, in, "interpreters/*.json"), only(t, in, "interpreters/*.tar")
	for name, damage := range map[string]func(){
		"none":             func() {},
		"memo flipped":     func() { flip(t, memo, false) },
		"memo cut":         func() { flip(t, memo, true) },
		"memo gone":        func() { _ = os.Remove(memo) },
		"expanded cut":     func() { flip(t, expanded, true) },
		"expanded gone":    func() { _ = os.Remove(expanded) },
		"memo of a future": func() { _ = os.WriteFile(memo, []byte("00\n{}"), 0o600) },
	} {
		damage()
		if got := newPlan(t, in).TreeDigest; got != want {
			t.Errorf("%s: another tree", name)
		}
	}
	all := in
	all.Strip = nil
	if _, ok := newPlan(t, all).Tree.Find("lib/python3.12/tkinter/a.py"); !ok {
		t.Error("what one recipe strips another does not get")
	}
	other := in
	other.Platform.Arch = "amd64"
	if _, err := NewPlan(t.Context(), other); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("an interpreter of another machine: %v", err)
	}
}

// TestDamagedInterpreter: an expanded archive that changed in the cache is found
// when it is read; the next build expands it again.
func TestDamagedInterpreter(t *testing.T) {
	t.Parallel()
	in := input(t)
	pack(t, &in)
	want := newPlan(t, in).TreeDigest
	expanded := only(t, in, "interpreters/*.tar")
	data, err := os.ReadFile(expanded)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(expanded, bytes.ReplaceAll(data, []byte("# os"), []byte("# oh")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = newPlan(t, in).Build(t.Context())
	damaged, ok := errors.AsType[*DamagedError](err)
	if !ok || damaged.What != "interpreter" || damaged.Path != expanded || !errors.Is(err, bundle.ErrMismatch) {
		t.Fatalf("got %v", err)
	}
	p := newPlan(t, in)
	if _, err := p.Build(t.Context()); err != nil || p.TreeDigest != want {
		t.Errorf("the next build: %v", err)
	}
}
