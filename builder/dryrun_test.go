// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

// A preview is the plan, to the last byte, and leaves nothing in the cache:
// a compressed interpreter is not even expanded there.
func TestPreview(t *testing.T) {
	t.Parallel()
	in := input(t)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(wheeltest.Interpreter("darwin", "arm64", nil)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	setInterpreter(t, &in, packed.Bytes())
	in.Decisions = []bundle.Decision{
		{Kind: DecisionExclude, Package: "another", Reason: "nobody imports it"},
		{Kind: DecisionWinner, Package: "small", Path: "nowhere/", Reason: "nothing needs it"},
	}
	preview, err := Preview(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = preview.Close() })
	if entries, err := os.ReadDir(in.CacheDir); err != nil || len(entries) > 0 {
		t.Errorf("the cache holds %v, %v", entries, err)
	}
	if d := cmp.Diff(in.Decisions[:1], preview.Applied()); d != "" {
		t.Error(d)
	}
	plan := newPlan(t, in)
	if preview.TreeDigest != plan.TreeDigest || len(preview.Layers) != len(plan.Layers) {
		t.Errorf("tree %s in %d layers, the plan has %s in %d", preview.TreeDigest, len(preview.Layers), plan.TreeDigest, len(plan.Layers))
	}
	for i := range plan.Layers {
		if preview.Layers[i].Identity != plan.Layers[i].Identity {
			t.Errorf("layer %s differs", plan.Layers[i].Name)
		}
		wantCached(t, preview, i, false)
	}
	if _, err := plan.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range preview.Layers {
		wantCached(t, preview, i, true)
	}
}

func wantCached(t *testing.T, p *Plan, i int, want bool) {
	t.Helper()
	blobs, err := p.Cached(&p.Layers[i])
	if err != nil || len(blobs) != 2 {
		t.Fatalf("%d blobs, %v", len(blobs), err)
	}
	for _, b := range blobs {
		if (b.Digest != "") != want || (b.Size > 0) != want || b.Codec == "" {
			t.Errorf("layer %s: %+v, cached should be %v", p.Layers[i].Name, b, want)
		}
	}
}

func TestPreviewRefuses(t *testing.T) {
	t.Parallel()
	in := input(t)
	in.Interpreter.SHA256 = hexSum(nil)
	if _, err := Preview(t.Context(), in); !errors.Is(err, bundle.ErrMismatch) {
		t.Errorf("another interpreter: %v", err)
	}
	in.Interpreter.Path += ".none"
	if _, err := Preview(t.Context(), in); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no interpreter: %v", err)
	}
}

func TestLayerOf(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		size int64
		want string
	}{"Big_One": {LargeWheel, "wheel/big-one"}, "vllm_metal": {LargeWheel - 1, "bucket/06"}} {
		if got := LayerOf(name, tt.size); got != tt.want {
			t.Errorf("%s of %d bytes: layer %s, want %s", name, tt.size, got, tt.want)
		}
	}
}
