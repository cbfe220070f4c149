// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package tarball

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

func text(name, content string) Entry {
	return Entry{Name: name, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

func sample() []Entry {
	run := text("env/bin/python3.12", "#!/bin/sh\n")
	run.Executable = true
	return []Entry{
		text("env/lib/a.b/x", "x"),
		text("env/lib/a/y", ""),
		text("env/lib/a-b", strings.Repeat("z", 513)),
		run,
		{Name: "env/bin/python3", Link: "python3.12"},
		text("env/lib/caf\u00e9", "pax"),
		text("env/"+strings.Repeat("d", 90)+"/"+strings.Repeat("f", 99), "split"),
		text("env/"+strings.Repeat("n", 150), "pax"),
	}
}

// golden is the sha256 of the sample's stream. When it changes, every layer of
// every environment changes: FormatVersion has to change with it.
const golden = "1997252146b06221394d2ec70f18a60924c1e945dd2af3fc1ee468ad1f3bc20e"

func TestWriteGolden(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := Write(t.Context(), &b, sample()); err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(b.Bytes()); hex.EncodeToString(sum[:]) != golden {
		t.Errorf("sha256 %x, want %s", sum, golden)
	}
	reversed := sample()
	slices.Reverse(reversed)
	var other bytes.Buffer
	if err := Write(t.Context(), &other, reversed); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), other.Bytes()) {
		t.Error("the order of the list changes the bytes")
	}
}

func TestWriteHeaders(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := Write(t.Context(), &b, sample()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for tr := tar.NewReader(&b); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.ModTime.Unix() != ModTime {
			t.Errorf("%s: %+v", h.Name, h)
		}
		got = append(got, fmt.Sprintf("%c %o %v %s", h.Typeflag, h.Mode, h.Format, h.Name))
	}
	want := []string{
		"5 755 USTAR env/",
		"5 755 USTAR env/bin/",
		"2 777 USTAR env/bin/python3",
		"0 755 USTAR env/bin/python3.12",
		"5 755 USTAR env/" + strings.Repeat("d", 90) + "/",
		"0 644 USTAR env/" + strings.Repeat("d", 90) + "/" + strings.Repeat("f", 99),
		"5 755 USTAR env/lib/",
		"0 644 USTAR env/lib/a-b",
		"5 755 USTAR env/lib/a.b/",
		"0 644 USTAR env/lib/a.b/x",
		"5 755 USTAR env/lib/a/",
		"0 644 USTAR env/lib/a/y",
		"0 644 PAX env/lib/caf\u00e9",
		"0 644 PAX env/" + strings.Repeat("n", 150),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if !slices.IsSortedFunc(got, func(a, b string) int {
		return strings.Compare(strings.SplitN(a, " ", 4)[3], strings.SplitN(b, " ", 4)[3])
	}) {
		t.Error("not sorted by the bytes of the names")
	}
}

func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	short := text("a", "12")
	short.Size = 3
	long := text("a", "1234")
	long.Size = 3
	for name, c := range map[string]struct {
		entries []Entry
		want    error
	}{
		"twice":              {[]Entry{text("a", ""), text("a", "")}, bundle.ErrInvalid},
		"file and directory": {[]Entry{text("a", ""), text("a/b", "")}, bundle.ErrInvalid},
		"escape":             {[]Entry{text("../a", "")}, bundle.ErrInvalid},
		"short":              {[]Entry{short}, bundle.ErrMismatch},
		"long":               {[]Entry{long}, bundle.ErrMismatch},
	} {
		err := Write(t.Context(), io.Discard, c.entries)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Write(ctx, io.Discard, sample()); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
