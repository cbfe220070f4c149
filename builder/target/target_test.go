// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
)

// vectors were written by testdata/vectors.py from Python's packaging.
type vectors struct {
	Targets []struct {
		Platform string          `json:"platform"`
		MacOS    string          `json:"macos"`
		Glibc    string          `json:"glibc"`
		Tags     []string        `json:"tags"`
		Markers  map[string]bool `json:"markers"`
	} `json:"targets"`
	Choices []struct {
		Target int      `json:"target"`
		Files  []string `json:"files"`
		Best   int      `json:"best"`
	} `json:"choices"`
	Generated []struct {
		Marker string  `json:"marker"`
		Want   []*bool `json:"want"` // one for each target; nil = an error
	} `json:"generated"`
}

func load(t *testing.T) (vectors, []*target.Target) {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	var targets []*target.Target
	for _, row := range v.Targets {
		p, err := bundle.ParsePlatform(row.Platform)
		if err != nil {
			t.Fatal(err)
		}
		p.MacOS, p.Glibc = row.MacOS, row.Glibc
		targets = append(targets, must(target.New(p, "3.12.16"))(t))
	}
	return v, targets
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestTagsAgainstPackaging(t *testing.T) {
	t.Parallel()
	v, targets := load(t)
	for i, row := range v.Targets {
		if diff := cmp.Diff(row.Tags, targets[i].Tags()); diff != "" {
			t.Errorf("%s: tags differ (-packaging +ours):\n%s", targets[i], diff)
		}
	}
}

func TestMarkersAgainstPackaging(t *testing.T) {
	t.Parallel()
	v, targets := load(t)
	sets := target.Sets{Extras: []string{"gpu-x"}, DependencyGroups: []string{"dev"}}
	for i, row := range v.Targets {
		for marker, want := range row.Markers {
			got, err := targets[i].Eval(marker, sets)
			if err != nil || got != want {
				t.Errorf("%s: %s = %v, %v; packaging says %v", targets[i], marker, got, err, want)
			}
		}
	}
}

func TestGeneratedMarkersAgainstPackaging(t *testing.T) {
	t.Parallel()
	v, targets := load(t)
	sets := target.Sets{Extras: []string{"gpu-x"}, DependencyGroups: []string{"dev"}}
	for _, row := range v.Generated {
		for i, want := range row.Want {
			got, err := targets[i].Eval(row.Marker, sets)
			if (want == nil) != (err != nil) || want != nil && got != *want {
				t.Errorf("%s: %s = %v, %v; packaging says %v", targets[i], row.Marker, got, err, say(want))
			}
		}
	}
}

func say(b *bool) string {
	if b == nil {
		return "error"
	}
	return strconv.FormatBool(*b)
}

func TestChoiceAgainstPackaging(t *testing.T) {
	t.Parallel()
	v, targets := load(t)
	for _, c := range v.Choices {
		got, err := targets[c.Target].Best(c.Files)
		if c.Best < 0 {
			if !errors.Is(err, target.ErrNoWheel) {
				t.Errorf("%s: %q: got %d, %v; want ErrNoWheel", targets[c.Target], c.Files, got, err)
			}
			continue
		}
		if err != nil || got != c.Best {
			t.Errorf("%s: %q: got %d, %v; packaging says %d", targets[c.Target], c.Files, got, err, c.Best)
		}
	}
}

func TestABIClosenessBeatsPlatformNewness(t *testing.T) {
	t.Parallel()
	tg := must(target.New(bundle.Platform{OS: "darwin", Arch: "arm64", MacOS: "15.0"}, "3.12.16"))(t)
	i, err := tg.Best([]string{"x-1-cp38-abi3-macosx_15_0_arm64.whl", "x-1-cp312-cp312-macosx_14_0_arm64.whl"})
	if err != nil || i != 1 {
		t.Errorf("got %d, %v; want 1", i, err)
	}
}

func TestMarkerErrors(t *testing.T) {
	t.Parallel()
	_, targets := load(t)
	for marker, want := range map[string]string{
		"platform_release >= '10'":      "platform_release is not known",
		"platform_version == 'x'":       "platform_version is not known",
		"extra == 'cpu'":                "extra is not known",
		"extras == 'cpu'":               "is not known",
		"'cpu' == extras":               "stands only to the right",
		"python_version":                "want a comparison",
		"python_version >= ":            "ends too early",
		"python_version >= '3":          "has no end",
		"nonsense == 'x'":               "no marker variable",
		"(os_name == 'posix'":           "want )",
		"os_name == 'posix' or":         "ends too early",
		"os_name == 'posix') and":       "unexpected",
		"'a' == 'b'":                    "want a variable and a string",
		"os_name ~= 'x'":                "not a comparison of text",
		strings.Repeat("(", 100):        "nested too deeply",
		strings.Repeat("a", 1+(16<<10)): "too long",
	} {
		_, err := targets[0].Eval(marker, target.Sets{})
		if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %.200v, want one that says %q", marker, err, want)
		}
	}
	// What the other operand decides needs no unknown variable.
	for marker, want := range map[string]bool{
		"platform_release >= '10' and sys_platform == 'win32'": false,
		"sys_platform == 'win32' and platform_release >= '10'": false,
		"platform_release >= '10' or os_name == 'posix'":       true,
	} {
		if got, err := targets[0].Eval(marker, target.Sets{}); err != nil || got != want {
			t.Errorf("%s = %v, %v; want %v", marker, got, err, want)
		}
	}
}

func TestBadWheelNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"", "x.whl", "x-1-py3-none-any.zip", "x-1-py3-none.whl", "x-1-b-py3-none-any.whl", "x-one-py3-none-any.whl",
		"-1-py3-none-any.whl", "a__b-1-py3-none-any.whl", "x-1-py3..py2-none-any.whl", "x-1-py3-none-.whl", "x-1-1-2-py3-none-any.whl",
		"../x-1-py3-none-any.whl", "x-1-py3-none-a/b.whl",
	} {
		if _, err := target.ParseWheelName(name); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%q: got %v, want ErrInvalid", name, err)
		}
	}
	w := must(target.ParseWheelName("Foo.Bar_baz-1.0+cpu.1-2b-py2.py3-none-any.whl"))(t)
	want := target.WheelName{Name: "foo-bar-baz", Version: "1.0+cpu.1", Build: "2b", Tags: []string{"py2-none-any", "py3-none-any"}}
	if diff := cmp.Diff(want, w); diff != "" {
		t.Error(diff)
	}
}

func TestNewErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		p      bundle.Platform
		python string
	}{
		{bundle.Platform{OS: "windows", Arch: "amd64"}, "3.12.1"},
		{bundle.Platform{OS: "darwin", Arch: "arm64"}, "3.12.1"},
		{bundle.Platform{OS: "darwin", Arch: "arm64", MacOS: "10.15"}, "3.12.1"},
		{bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.4"}, "3.12.1"},
		{bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.999999"}, "3.12.1"},
		{bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.35"}, "3.12"},
	} {
		if _, err := target.New(c.p, c.python); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%+v %s: got %v, want ErrInvalid", c.p, c.python, err)
		}
	}
}

func TestAdmitsPython(t *testing.T) {
	t.Parallel()
	_, targets := load(t)
	for spec, want := range map[string]bool{"": true, ">=3.12": true, ">=3.12,<3.14": true, "<3.12": false, "==3.12.*": true, ">=3.9,!=3.12.*": false, ">=3.13": false} {
		if got, err := targets[0].AdmitsPython(spec); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", spec, got, err, want)
		}
	}
	if _, err := targets[0].AdmitsPython("three"); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}
