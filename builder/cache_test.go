// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

// sink is a target that reads without looking at what it reads.
type sink struct{}

func (sink) Exists(context.Context, bundle.Descriptor) (bool, error) { return false, nil }
func (sink) Tag(context.Context, bundle.Descriptor, string) error    { return nil }
func (sink) Push(ctx context.Context, _ bundle.Descriptor, open bundle.Opener) error {
	rc, err := open(ctx)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, rc)
	return errors.Join(err, rc.Close())
}

// TestDamagedCache: a layer that changed in the cache is found when it is
// read, leaves the cache, and is made anew by the next build.
func TestDamagedCache(t *testing.T) {
	t.Parallel()
	in := input(t)
	first := assemble(t, in)
	files, err := filepath.Glob(filepath.Join(in.CacheDir, "layers", "*", "zstd-*"))
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, ".json") })
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	again := assemble(t, in)
	err = bundle.Copy(t.Context(), again, sink{}, again.Root(), bundle.CopyOptions{})
	damaged, ok := errors.AsType[*DamagedError](err)
	if !ok || damaged.Path != files[0] || !errors.Is(err, bundle.ErrMismatch) || damaged.Hint() == "" {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(files[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still in the cache: %v", err)
	}
	mended := assemble(t, in)
	if err := bundle.Copy(t.Context(), mended, sink{}, mended.Root(), bundle.CopyOptions{}); err != nil || mended.Root().Digest != first.Root().Digest {
		t.Errorf("after the next build: %v", err)
	}
}

// TestSweep clears what killed builds left, and nothing while a build lives.
func TestSweep(t *testing.T) {
	t.Parallel()
	in := input(t)
	stale := []string{"interpreters/expand-1.tmp", "layers/ab/zstd-1.tmp", "layers/ab/.zstd.json1"}
	leave := func() {
		for _, name := range stale {
			p := filepath.Join(in.CacheDir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func() (n int) {
		for _, name := range stale {
			if _, err := os.Stat(filepath.Join(in.CacheDir, name)); err == nil {
				n++
			}
		}
		return n
	}
	leave()
	newPlan(t, in) // closed when the test ends
	if n := count(); n != 0 {
		t.Errorf("%d files left", n)
	}
	leave()
	newPlan(t, in)
	if n := count(); n != len(stale) {
		t.Errorf("%d of %d files left beside a living build", n, len(stale))
	}
}

// TestUnusedDecisions: what a recipe decides and nothing needs is said.
func TestUnusedDecisions(t *testing.T) {
	t.Parallel()
	in := input(t)
	addWheel(t, &in, "paths", map[string]string{"paths.pth": "import x", "shared/a.py": "other"}, wheeltest.Options{})
	in.Decisions = []bundle.Decision{
		{Kind: DecisionWaive, Package: "Paths", Rule: "pth", Reason: "needed"},
		{Kind: DecisionWaive, Package: "small", Rule: "stdlib", Path: "x.py", Reason: "not needed"},
		{Kind: DecisionWinner, Package: "paths", Path: "shared/", Reason: "needed"},
		{Kind: DecisionWinner, Package: "nobody", Path: "shared/", Reason: "not needed"},
		{Kind: "substitute", Package: "small", Reason: "recorded only"},
	}
	var mu sync.Mutex
	var notes []string
	in.Events = func(e bundle.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == bundle.EventNote {
			notes = append(notes, e.Reason)
		}
	}
	newPlan(t, in)
	want := []string{
		"wheels.waive (small, stdlib, x.py) matched nothing on darwin/arm64",
		"wheels.winner (nobody, shared/) matched nothing on darwin/arm64",
	}
	if d := cmp.Diff(want, notes); d != "" {
		t.Error(d)
	}
}

// TestDirectURL: a wheel that is on no index says where it comes from.
func TestDirectURL(t *testing.T) {
	t.Parallel()
	in := input(t)
	in.Wheels[1].Origin.URL = "https://example.com/" + in.Wheels[1].File
	p := newPlan(t, in)
	for name, want := range map[string]bool{"small": true, "another": false} {
		if _, ok := p.Tree.Find(site + name + "-1.0.dist-info/direct_url.json"); ok != want {
			t.Errorf("%s: direct_url.json is there: %v", name, ok)
		}
	}
}
