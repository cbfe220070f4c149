// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package macho

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

var sequoia = bundle.Platform{OS: "darwin", Arch: "arm64", MacOS: "14.0"}

func targetOf(t *testing.T, p bundle.Platform) Target {
	t.Helper()
	target, err := NewTarget(p)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// good is a signed library for macOS 11.
func good(change func(*Slice)) Slice {
	s := Slice{Kind: KindDylib, CPU: "arm64", Platform: PlatformMacOS, MinOS: v11, Signature: SignaturePresent}
	if change != nil {
		change(&s)
	}
	return s
}

func TestRules(t *testing.T) {
	t.Parallel()
	unsigned := func(kind string) func(*Slice) {
		return func(s *Slice) { s.Kind, s.Signature = kind, SignatureNone }
	}
	newer := func(s *Slice) { s.MinOS = v14 + 1 }
	intel := func(s *Slice) { s.CPU, s.Signature, s.MinOS = "x86_64", SignatureNone, 99<<16 }
	for name, tt := range map[string]struct {
		slices []Slice
		want   string // rules
	}{
		"good":                            {[]Slice{good(nil)}, ""},
		"as new as the floor":             {[]Slice{good(func(s *Slice) { s.MinOS = v14 })}, ""},
		"newer by a patch":                {[]Slice{good(newer)}, RuleMinOS},
		"no minimum":                      {[]Slice{good(func(s *Slice) { s.MinOS, s.Platform = 0, "" })}, ""},
		"unsigned executable":             {[]Slice{good(unsigned(KindExecutable))}, RuleUnsigned},
		"unsigned linker":                 {[]Slice{good(unsigned(KindDylinker))}, RuleUnsigned},
		"unsigned and new":                {[]Slice{good(unsigned(KindBundle)), good(newer)}, RuleUnsigned + " " + RuleMinOS},
		"unsigned dsym":                   {[]Slice{good(unsigned(KindDSYM))}, ""},
		"unsigned object":                 {[]Slice{good(unsigned(KindObject))}, ""},
		"archives":                        {[]Slice{{Kind: KindArchive, CPU: "x86_64"}}, ""},
		"damaged signature":               {[]Slice{good(func(s *Slice) { s.Signature = SignatureDamaged })}, RuleUnsigned},
		"intel beside it":                 {[]Slice{good(intel), good(nil)}, ""},
		"intel alone":                     {[]Slice{good(intel)}, RuleArch},
		"arm64e alone":                    {[]Slice{good(func(s *Slice) { s.CPU = "arm64e" })}, RuleArch},
		"object for it, library for none": {[]Slice{good(unsigned(KindObject)), good(intel)}, RuleArch},
		"simulator":                       {[]Slice{good(func(s *Slice) { s.Platform, s.MinOS = "iOS simulator", 99<<16 })}, RulePlatform},
	} {
		var rules []string
		for _, v := range targetOf(t, sequoia).Check(File{Slices: tt.slices}) {
			rules = append(rules, v.Rule)
		}
		if got := strings.Join(rules, " "); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
	if v := targetOf(t, bundle.Platform{OS: "linux", Arch: "arm64", Glibc: "2.35"}).Check(File{Malformed: "x"}); v != nil {
		t.Errorf("linux: %v", v)
	}
	if v := targetOf(t, bundle.Platform{OS: "darwin", Arch: "amd64"}).Check(File{Slices: []Slice{good(func(s *Slice) { s.CPU = "x86_64" })}}); v != nil {
		t.Errorf("intel: %v", v)
	}
	if _, err := NewTarget(bundle.Platform{OS: "darwin", Arch: "arm64", MacOS: "15"}); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("floor 15: %v", err)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "10.9", "14.0", "13.3.1", "65535.255.255"} {
		if v, err := ParseVersion(s); err != nil || v.String() != s {
			t.Errorf("%q: got %q, %v", s, v, err)
		}
	}
	for _, s := range []string{"14", "a.b", "1.2.3.4", "65536.0", "14.256", "14.-1", "14."} {
		if v, err := ParseVersion(s); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%q: got %v, %v", s, v, err)
		}
	}
}

// example is a small environment, added by many at once.
func example() *Summary {
	entries := []Entry{
		{"mlx", "site/mlx/core.so", File{Slices: []Slice{good(func(s *Slice) { s.MinOS = v14 })}}},
		{"numba", "site/numba/a.so", File{Fat: true, Slices: []Slice{
			{Kind: KindBundle, CPU: "x86_64", MinOS: 99 << 16, Foreign: []Reference{{KindRpath, "/opt/env/lib"}}},
			good(func(s *Slice) { s.Foreign = []Reference{{KindRpath, "/opt/env/lib"}} }),
		}}},
		{"numba", "site/numba/b.so", File{Slices: []Slice{good(func(s *Slice) { s.Foreign = []Reference{{KindRpath, "/opt/env/lib"}} })}}},
		{"pillow", "site/PIL/x.dylib", File{Slices: []Slice{good(func(s *Slice) {
			s.Foreign = []Reference{{KindID, "/DLC/x.dylib"}, {"load", "/opt/b/y.dylib"}, {"load", "/opt/b/z.dylib"}}
		})}}},
		{"tvm", "site/tvm.dSYM/x", File{Slices: []Slice{{Kind: KindDSYM, CPU: "arm64"}}}},
		{"old", "site/old.so", File{Slices: []Slice{{Kind: KindBundle, CPU: "arm64"}}}},
		{"bad", "site/bad.so", File{Malformed: "the file ends inside a header"}},
		{"mlx", "site/mlx/py.py", File{}},
	}
	sum := new(Summary)
	var wg sync.WaitGroup
	for _, e := range entries {
		wg.Go(func() { sum.Add(e) })
	}
	wg.Wait()
	return sum
}

func TestReport(t *testing.T) {
	t.Parallel()
	sum, target := example(), targetOf(t, sequoia)
	r := sum.Report(target, nil)
	want := `Mach-O: 5 binaries in 4 packages, floor macOS 14.0, 1 damaged, 1 dsym
minimum macOS  binaries  packages
         14.0         1         1
               mlx: site/mlx/core.so
         11.0         3         2
     not said         1         1
warning: pillow: load "/opt/b" leads out of the system (1 file)
warning: numba: rpath "/opt/env/lib" leads out of the system (2 files)
1 library has a name of the machine it was built on, which nothing follows
`
	if d := cmp.Diff(want, r.Text()); d != "" {
		t.Error(d)
	}
	err := r.Err()
	if !errors.Is(err, bundle.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	wantErr := `bad: site/bad.so: damaged Mach-O: the file ends inside a header, want a sound file (rule malformed, which a recipe can waive): invalid
old: site/old.so: unsigned, want a signature (rule unsigned, which a recipe can waive): invalid`
	if d := cmp.Diff(wantErr, err.Error()); d != "" {
		t.Error(d)
	}
	var v *Violation
	if !errors.As(err, &v) || v.Owner != "bad" || !strings.Contains(v.Hint(), RuleMalformed) {
		t.Errorf("got %+v", v)
	}
	if got := sum.Entries(); len(got) != 7 || got[0].Owner != "bad" || got[6].Owner != "tvm" {
		t.Errorf("got %+v", got)
	}
	waived := sum.Report(target, func(v *Violation) bool { return v.Owner == "old" || v.Rule == RuleMalformed })
	if err := waived.Err(); err != nil {
		t.Error(err)
	}
}

// TestReportJSON: lists are never null, and versions are written as such.
func TestReportJSON(t *testing.T) {
	t.Parallel()
	encode := func(s *Summary, target Target) string {
		data, err := json.Marshal(s.Report(target, nil))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	want := `{"binaries":0,"packages":0,"exempt":[],"minimumOs":[],"highest":[],"foreign":[],"violations":[]}`
	if d := cmp.Diff(want, encode(new(Summary), Target{})); d != "" {
		t.Error(d)
	}
	got := encode(example(), targetOf(t, sequoia))
	for _, part := range []string{
		`"floor":"14.0"`, `"minimumOs":[{"minOs":"14.0","binaries":1,"packages":1}`, `"highest":[{"owner":"mlx","path":"site/mlx/core.so"}]`,
		`{"owner":"numba","kind":"rpath","dir":"/opt/env/lib","files":["site/numba/a.so","site/numba/b.so"]}`,
		`{"owner":"old","path":"site/old.so","rule":"unsigned","got":"unsigned","want":"a signature"}`,
	} {
		if !strings.Contains(got, part) {
			t.Errorf("%s\nis not in %s", part, got)
		}
	}
}

// TestMany: texts name some of many.
func TestMany(t *testing.T) {
	t.Parallel()
	var sum Summary
	for i := range maxNamed + 2 {
		e := Entry{"p", fmt.Sprintf("%02d.so", i), File{Slices: []Slice{good(func(s *Slice) {
			s.Foreign = []Reference{{KindRpath, fmt.Sprintf("/opt/%d", i)}}
		})}}}
		sum.Add(e)
	}
	err := sum.Report(Target{CPU: "x86_64"}, nil).Err()
	if lines := strings.Split(err.Error(), "\n"); len(lines) != maxNamed+1 || lines[maxNamed] != "2 more violations of such rules: invalid" {
		t.Error(err)
	}
	text := sum.Report(Target{}, nil).Text()
	if strings.Count(text, "warning: ") != maxNamed || strings.Count(text, "and 2 more\n") != 2 {
		t.Error(text)
	}
}
