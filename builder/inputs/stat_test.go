// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/bundle"
)

func TestLocate(t *testing.T) {
	t.Parallel()
	data := content("wheel", 1000)
	w := wheel("a", data)
	cache, links := inputs.NewCache(filepath.Join(t.TempDir(), "cache")), t.TempDir()
	f := inputs.Fetcher{Cache: cache, FindLinks: []string{filepath.Join(links, "none"), links}}
	file := filepath.Join(links, w.File)
	locate := func(w inputs.Want, want inputs.Place) {
		t.Helper()
		got, err := f.Locate(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	locate(w, inputs.Place{Where: inputs.Nowhere, Size: 1000})
	w.Target = linux(t)
	locate(w, inputs.Place{Where: inputs.OnIndex, Size: 1000})
	own := w
	own.URL, own.Size = "https://files.example/a.whl", 0
	locate(own, inputs.Place{Where: inputs.AtURL})
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	locate(own, inputs.Place{Where: inputs.InDirectory, Path: file, Size: 1000})
	if _, err := os.Stat(cache.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cache was made: %v", err)
	}
	if _, err := cache.Put(t.Context(), w.SHA256, w.Size, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	locate(w, inputs.Place{Where: inputs.InCache, Path: cache.Path(w.SHA256), Size: 1000})
}

func TestLocateRefuses(t *testing.T) {
	t.Parallel()
	w, links := wheel("a", content("wheel", 1000)), t.TempDir()
	f := inputs.Fetcher{Cache: inputs.NewCache(t.TempDir()), FindLinks: []string{links}}
	if err := os.WriteFile(filepath.Join(links, w.File), content("other", 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Locate(t.Context(), w); !errors.Is(err, bundle.ErrMismatch) {
		t.Errorf("another file: %v", err)
	}
	w.File = "."
	if _, err := f.Locate(t.Context(), w); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("a directory: %v", err)
	}
	w.SHA256 = "../x"
	if _, err := f.Locate(t.Context(), w); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("no sha256: %v", err)
	}
}
