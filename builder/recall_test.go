// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

// recall fails the test on an error.
func recall(t *testing.T, in Input) (*Variant, bool) {
	t.Helper()
	v, ok, err := Recall(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return v, ok
}

func TestRecall(t *testing.T) {
	t.Parallel()
	in := input(t)
	in.Decisions = []bundle.Decision{{Kind: DecisionWinner, Package: "small", Path: "nowhere", Reason: "a winner that matches nothing"}}
	var mu sync.Mutex
	var events []bundle.Event
	in.Events = func(e bundle.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == bundle.EventNote || e.Kind == bundle.EventSkipped {
			events = append(events, e)
		}
	}
	if _, ok := recall(t, in); ok {
		t.Fatal("an empty cache remembers a build")
	}
	want := assemble(t, in)
	notes := len(events)
	if notes == 0 {
		t.Error("the winner that matches nothing was not noted")
	}
	for i := range in.Wheels { // none of them is needed
		in.Wheels[i].Path = filepath.Join(t.TempDir(), "nothing.whl")
	}
	events = nil
	v, ok := recall(t, in)
	if !ok {
		t.Fatal("the build is not remembered")
	}
	got, err := Assemble([]*Variant{v})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.Root(), got.Root()); d != "" {
		t.Error(d)
	}
	if len(events) != notes+v.Outline.Layers {
		t.Errorf("%d events, want %d notes again and %d layers skipped", len(events), notes, v.Outline.Layers)
	}
	for name, change := range map[string]func(*Input){
		"another wheel": func(in *Input) {
			in.Wheels = append([]Wheel{}, in.Wheels...)
			in.Wheels[1].SHA256 = in.Wheels[0].SHA256
		},
		"another pattern":  func(in *Input) { in.Strip = nil },
		"another level":    func(in *Input) { in.Zstd = "release" },
		"another recipe":   func(in *Input) { in.RecipeYAML = []byte("version: 2\n") },
		"another floor":    func(in *Input) { in.Platform.MacOS = "26.0" },
		"another decision": func(in *Input) { in.Decisions = nil },
	} {
		other := in
		change(&other)
		if _, ok := recall(t, other); ok {
			t.Errorf("%s: taken for the same build", name)
		}
	}
	if err := os.Remove(v.layers[0].blobs[0].path); err != nil {
		t.Fatal(err)
	}
	if _, ok := recall(t, in); ok {
		t.Error("recalled without one of its layers")
	}
}
