// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"path/filepath"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/layout"
	"github.com/metalpack/metalpack/internal/regtest"
)

// disk opens a layout or an archive for writing.
func disk(t *testing.T, where string) *layout.Writer {
	t.Helper()
	ref, err := bundle.ParseDestination(where, "")
	if err != nil {
		t.Fatal(err)
	}
	w, err := layout.Create(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// On disk, too, each file is read once, but for the header, and what is there
// already is hashed and not written.
func TestBuildIntoLayout(t *testing.T) {
	t.Parallel()
	for _, where := range []string{
		"oci:" + filepath.Join(t.TempDir(), "layout"), "oci-archive:" + filepath.Join(t.TempDir(), "file.tar"),
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			hub := newHub()
			delete(hub.known, "model.safetensors")
			build := func() (*Artifact, *regtest.Recorder) {
				w, rec := disk(t, where), &regtest.Recorder{}
				clear(hub.bytes)
				a, err := Build(t.Context(), hub, Options{Into: into(w, rec.Emit)})
				if err != nil {
					t.Fatal(err)
				}
				publish(t, a, w, rec.Emit)
				if err := w.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
				return a, rec
			}
			a, rec := build()
			for name, header := range map[string]int{"model.safetensors": 8 + len(weights), "tokenizer.json": 0} {
				if n, whole := hub.bytes[name], len(hub.files[name]); n != whole+header {
					t.Errorf("%s: %d bytes of %d were read", name, n, whole)
				}
			}
			again, rec2 := build()
			if len(sent(rec, bundle.EventDone)) == 0 || len(sent(rec2, bundle.EventDone)) != 0 || again.Root().Digest != a.Root().Digest {
				t.Errorf("%v\n%v", rec, rec2)
			}
		})
	}
}
