// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/modfile"

	"github.com/metalpack/metalpack/bundle"
)

func TestCache(t *testing.T) {
	t.Parallel()
	in := input(t)
	var mu sync.Mutex
	count := map[bundle.EventKind]int{}
	in.Events = func(e bundle.Event) {
		mu.Lock()
		defer mu.Unlock()
		count[e.Kind]++
	}
	first := assemble(t, in)
	if want := map[bundle.EventKind]int{bundle.EventStarted: 5, bundle.EventDone: 5}; !cmp.Equal(want, count) {
		t.Errorf("%v", count)
	}
	clear(count)
	if second := assemble(t, in); second.Root().Digest != first.Root().Digest || count[bundle.EventSkipped] != 5 || len(count) != 1 {
		t.Errorf("%v", count)
	}
	cut, err := filepath.Glob(filepath.Join(in.CacheDir, "layers", "*", "zstd-*-fast"))
	if err != nil || len(cut) != 5 {
		t.Fatal(cut, err)
	}
	if err := os.Truncate(cut[0], 3); err != nil {
		t.Fatal(err)
	}
	clear(count)
	if third := assemble(t, in); third.Root().Digest != first.Root().Digest || count[bundle.EventSkipped] != 4 || count[bundle.EventDone] != 1 {
		t.Errorf("%v", count)
	}
	if left, _ := filepath.Glob(filepath.Join(in.CacheDir, "layers", "*", "*.tmp")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestCanceled(t *testing.T) {
	t.Parallel()
	in := input(t)
	p := newPlan(t, in)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Build(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestOneCodec(t *testing.T) {
	t.Parallel()
	in := input(t)
	in.Gzip, in.Zstd = -1, "release"
	a := assemble(t, in)
	data, err := a.Manifest(t.Context(), a.Root())
	if err != nil {
		t.Fatal(err)
	}
	if x, err := bundle.ParseIndex(data); err != nil || len(x.Manifests) != 1 || !bundle.IsZstd(x.Manifests[0]) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestAssembleOrder(t *testing.T) {
	t.Parallel()
	variant := func(os, arch, macos string) *Variant {
		return &Variant{Name: "demo", Release: "1", Platform: bundle.Platform{OS: os, Arch: arch, MacOS: macos}, codecs: []codec{{mediaType: bundle.MediaTypeLayerGzip}}}
	}
	a, err := Assemble([]*Variant{variant("linux", "amd64", ""), variant("darwin", "arm64", "26.2"), variant("darwin", "arm64", "15.0"), variant("darwin", "arm64", "9.0")})
	if err != nil {
		t.Fatal(err)
	}
	data, err := a.Manifest(t.Context(), a.Root())
	if err != nil {
		t.Fatal(err)
	}
	x, err := bundle.ParseIndex(data)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range x.Manifests {
		got = append(got, d.Platform.OS+" "+d.Platform.OSVersion)
	}
	if d := cmp.Diff([]string{"darwin 9.0", "darwin 15.0", "darwin 26.2", "linux "}, got); d != "" {
		t.Error(d)
	}
	for _, bad := range [][]*Variant{nil, {variant("linux", "amd64", ""), variant("linux", "amd64", "")}} {
		if _, err := Assemble(bad); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%v", err)
		}
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	a := assemble(t, input(t))
	if d, err := a.Resolve(t.Context(), ""); err != nil || d.Digest != a.Root().Digest {
		t.Error(d, err)
	}
	if _, err := a.Resolve(t.Context(), "latest"); !errors.Is(err, bundle.ErrNotFound) {
		t.Error(err)
	}
	if _, err := a.Open(t.Context(), bundle.DescriptorOf("x", []byte("?")), 0); !errors.Is(err, bundle.ErrNotFound) {
		t.Error(err)
	}
}

// TestCompressVersion holds the constant equal to go.mod.
func TestCompressVersion(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	f, err := modfile.ParseLax("go.mod", data, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range f.Require {
		if r.Mod.Path == "github.com/klauspost/compress" && r.Mod.Version != "v"+compressVersion {
			t.Errorf("go.mod has %s, compressVersion is %s", r.Mod.Version, compressVersion)
		}
	}
}
