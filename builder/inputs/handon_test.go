// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/layout"
)

// stock puts some files into a cache.
func stock(t *testing.T, names ...string) (*inputs.Cache, []inputs.Want) {
	t.Helper()
	cache := inputs.NewCache(t.TempDir())
	var wants []inputs.Want
	for _, n := range names {
		w := wheel(n, content(n, 1<<12))
		_, err := cache.Put(t.Context(), w.SHA256, w.Size, bytes.NewReader(content(n, 1<<12)))
		check(t, err)
		wants = append(wants, w)
	}
	return cache, wants
}

func TestArchive(t *testing.T) {
	t.Parallel()
	cache, wants := stock(t, "b", "a", "c")
	p, err := inputs.Pack(cache, append(slices.Clone(wants), wants[0]))
	check(t, err)
	slices.Reverse(wants)
	again, err := inputs.Pack(cache, wants)
	check(t, err)
	if diff := cmp.Diff(p.Root(), again.Root()); diff != "" {
		t.Errorf("the order of wants counts: %s", diff)
	}
	ref := bundle.Reference{Transport: bundle.TransportLayout, Path: filepath.Join(t.TempDir(), "out")}
	w, err := layout.Create(t.Context(), ref)
	check(t, err)
	check(t, bundle.Copy(t.Context(), p, w, p.Root(), bundle.CopyOptions{}))
	check(t, errors.Join(w.Tag(t.Context(), p.Root(), "1"), w.Commit(t.Context()), w.Close()))

	src, err := layout.Open(ref)
	check(t, err)
	defer func() { _ = src.Close() }()
	opened := 0
	open := func(ctx context.Context) (*inputs.Archive, error) {
		opened++
		return inputs.OpenArchive(ctx, "archive", src, p.Root())
	}
	fresh := inputs.NewCache(t.TempDir())
	// Half of a file is there from before.
	check(t, os.MkdirAll(filepath.Join(fresh.Dir(), "partial"), 0o755))
	check(t, os.WriteFile(filepath.Join(fresh.Dir(), "partial", wants[0].SHA256), content(wants[0].Name, 1<<12)[:100], 0o644))
	var started []int64
	f := &inputs.Fetcher{Cache: fresh, Offline: true, Archives: []func(context.Context) (*inputs.Archive, error){open}, Events: func(e bundle.Event) {
		if e.Kind == bundle.EventStarted && e.What == wants[0].File {
			started = append(started, e.Offset)
		}
	}}
	for range 2 {
		_, err = f.Fetch(t.Context(), wants)
		check(t, err)
	}
	if opened != 1 || !slices.Equal(started, []int64{100}) {
		t.Errorf("opened %d times, started at %v", opened, started)
	}
	check(t, os.Remove(filepath.Join(ref.Path, "blobs", "sha256", wants[0].SHA256)))
	f.Cache = inputs.NewCache(t.TempDir())
	if _, err := f.Fetch(t.Context(), wants); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("a blob is gone: %v", err)
	}
}

func TestPackRefuses(t *testing.T) {
	t.Parallel()
	cache, wants := stock(t, "a", "b")
	wants[1].File = wants[0].File
	if _, err := inputs.Pack(cache, wants); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("two files of one name: %v", err)
	}
	p, err := inputs.Pack(cache, wants[:1])
	check(t, err)
	for _, desc := range []bundle.Descriptor{p.Root(), bundle.DescriptorOf("x", []byte("other"))} {
		if _, err := p.Open(t.Context(), desc, 0); !errors.Is(err, bundle.ErrNotFound) {
			t.Errorf("%s: %v", desc.MediaType, err)
		}
	}
	rc, err := p.Open(t.Context(), bundle.DescriptorOf("x", content("a", 1<<12)), 1<<12-3)
	check(t, err)
	if tail, err := io.ReadAll(rc); string(tail) != "aaa" || err != nil || rc.Close() != nil {
		t.Errorf("%q, %v", tail, err)
	}
}

func TestWheelhouse(t *testing.T) {
	t.Parallel()
	cache, wants := stock(t, "a", "b")
	h := inputs.Wheelhouse{Dir: filepath.Join(t.TempDir(), "house [1]")}
	wheels := filepath.Join(h.Dir, "wheels")
	check(t, os.MkdirAll(wheels, 0o755))
	check(t, os.WriteFile(filepath.Join(wheels, ".metalpack-killed"), nil, 0o600))
	check(t, os.WriteFile(filepath.Join(wheels, "mine.whl"), nil, 0o644))
	check(t, os.WriteFile(h.Path(wants[0]), []byte("damaged"), 0o644))
	for range 2 {
		check(t, h.Put(t.Context(), cache, wants))
	}
	var names []string
	entries, err := os.ReadDir(wheels)
	check(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{wants[0].File, wants[1].File, "mine.whl"}, names); diff != "" {
		t.Error(diff)
	}
	// It is a copy, whose change is none of the cache's.
	check(t, os.WriteFile(h.Path(wants[0]), []byte("altered"), 0o644))
	if ok, err := cache.Rehash(t.Context(), wants[0].SHA256); !ok || err != nil {
		t.Errorf("the cache: %v, %v", ok, err)
	}
}
