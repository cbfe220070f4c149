// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/macho"
	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

// TestBinaries: what a Mac would not load is refused by wheel, file and rule,
// whether its layer is built now or comes from the cache; a waiver lets it pass,
// and another floor judges the same facts anew.
func TestBinaries(t *testing.T) {
	t.Parallel()
	in := input(t)
	addWheel(t, &in, "native", map[string]string{
		"native/unsigned.so": string(wheeltest.MachO("arm64", 12, false)),
		"native/newer.so":    string(wheeltest.MachO("arm64", 26, true)),
	}, wheeltest.Options{})
	build := func() (*Variant, error) { return newPlan(t, in).Build(t.Context()) }

	var first string
	for _, when := range []string{"built", "from the cache"} {
		_, err := build()
		if !errors.Is(err, bundle.ErrInvalid) {
			t.Fatalf("%s: got %v", when, err)
		}
		for _, text := range []string{
			"native: " + site + "native/newer.so: needs macOS 26.0, want at most the floor 15.0 (rule minos, which a recipe can waive)",
			"native: " + site + "native/unsigned.so: unsigned, want a signature (rule unsigned, which a recipe can waive)",
		} {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v has no %q", when, err, text)
			}
		}
		if first == "" {
			first = err.Error()
		}
		if d := cmp.Diff(first, err.Error()); d != "" {
			t.Error(d)
		}
	}

	in.Decisions = []bundle.Decision{
		{Kind: DecisionWaive, Package: "native", Rule: macho.RuleUnsigned, Path: "native/unsigned.so", Reason: "never loaded"},
		{Kind: DecisionWaive, Package: "native", Rule: macho.RulePlatform, Reason: "nothing needs it"},
		{Kind: DecisionWaive, Rule: macho.RuleUnsigned, Reason: "nothing needs it"},
	}
	in.Platform.MacOS = "26.0"
	var notes []string
	in.Events = func(e bundle.Event) {
		if e.Kind == bundle.EventNote {
			notes = append(notes, e.Reason)
		}
	}
	v, err := build()
	if err != nil {
		t.Fatal(err)
	}
	if r := v.Binaries; r.Binaries != 3 || r.Packages != 2 || len(r.Violations) != 0 {
		t.Errorf("got %+v", r)
	}
	want := []string{"wheels.waive (native, platform) matched nothing on darwin/arm64", "interpreter.waive (unsigned) matched nothing on darwin/arm64"}
	if d := cmp.Diff(want, notes); d != "" {
		t.Error(d)
	}
}

// TestInterpreterBinaries: the interpreter's own files have the same rules, and a
// waiver without a package is about them alone.
func TestInterpreterBinaries(t *testing.T) {
	t.Parallel()
	in := input(t)
	setInterpreter(t, &in, wheeltest.Interpreter("darwin", "arm64", map[string]string{"lib/libtcl.dylib": string(wheeltest.MachO("arm64", 26, true))}))
	addWheel(t, &in, "native", map[string]string{"native/newer.so": string(wheeltest.MachO("arm64", 26, true))}, wheeltest.Options{})
	const (
		ofInterpreter = "the interpreter: lib/libtcl.dylib: needs macOS 26.0, want at most the floor 15.0 (rule minos, which a recipe can waive)"
		ofPackage     = "native: " + site + "native/newer.so: needs macOS 26.0"
	)
	waived := bundle.Decision{Kind: DecisionWaive, Rule: macho.RuleMinOS, Path: "lib/libtcl.dylib", Reason: "a server opens no windows"}
	for _, decisions := range [][]bundle.Decision{nil, {waived}} {
		in.Decisions = decisions
		plan := newPlan(t, in)
		_, err := plan.Build(t.Context())
		if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), ofPackage) || strings.Contains(err.Error(), ofInterpreter) != (decisions == nil) {
			t.Errorf("%v: %v", decisions, err)
		}
		if d := cmp.Diff(append([]bundle.Decision{}, decisions...), plan.Environment.Decisions); d != "" {
			t.Error(d)
		}
	}
	waived.Rule = "pth"
	in.Decisions = []bundle.Decision{waived}
	if _, err := NewPlan(t.Context(), in); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), `waive for the interpreter: rule "pth" is not among arch, `) {
		t.Errorf("got %v", err)
	}
}

// TestBinariesOfOldCaches: a layer that was cached before anybody looked at its
// binaries is made anew once.
func TestBinariesOfOldCaches(t *testing.T) {
	t.Parallel()
	in := input(t)
	assemble(t, in)
	records, err := filepath.Glob(filepath.Join(in.CacheDir, "layers", "*", "*.json"))
	if err != nil || len(records) == 0 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, name := range records {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		head, _, ok := strings.Cut(string(data), `,"binaries"`)
		if !ok {
			t.Fatalf("%s: %s", name, data)
		}
		if err := os.WriteFile(name, []byte(head+"}"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v, err := newPlan(t, in).Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v.Binaries.Binaries != 1 { // the interpreter
		t.Errorf("got %+v", v.Binaries)
	}
}
