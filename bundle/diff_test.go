// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

// diffSide is an environment of two layers whose files hold the given texts.
func diffSide(release string, layers map[string][]string, edit func(*Environment)) EnvironmentSide {
	e := &Environment{
		Version: 1, Name: "demo", Release: release, Platform: Platform{OS: "darwin", Arch: "arm64", MacOS: "15.0"},
		Interpreter: Interpreter{Version: "3.12.3", SHA256: "aa"},
		Launch:      map[string]Profile{"stub": {Module: "stub"}},
	}
	s := EnvironmentSide{Environment: e, Tree: new(Tree)}
	var zstd, gzip CodecLayers
	zstd.Codec, gzip.Codec = "zstd", "gzip"
	layer := func(name, content string) {
		of := func(codec string, size int) Descriptor {
			return Descriptor{Digest: digest.FromString(codec + content), Size: int64(size), Annotations: map[string]string{AnnotationLayer: name}}
		}
		gzip.Layers, zstd.Layers = append(gzip.Layers, of("gzip", 2*len(content))), append(zstd.Layers, of("zstd", len(content)))
	}
	for _, name := range []string{"bucket/00", "wheel/big", "wheel/new"} {
		texts, ok := layers[name]
		if !ok {
			continue
		}
		info := LayerInfo{Name: name, Identity: digest.FromString(strings.Join(texts, "\n")).Encoded()}
		for _, text := range texts {
			s.Tree.Entries = append(s.Tree.Entries, TreeEntry{Path: name + "/" + text, Mode: ModeFile, Size: int64(len(text)), SHA256: digest.FromString(text).Encoded(), Layer: name})
			info.Size += int64(len(text))
		}
		e.Layers = append(e.Layers, info)
		layer(name, strings.Join(texts, ""))
	}
	if edit != nil {
		edit(e)
	}
	layer(MetadataLayer, "meta"+release)
	s.Manifests = []CodecLayers{gzip, zstd}
	return s
}

func compareDiff(t *testing.T, a, b EnvironmentSide, want EnvironmentDiff) {
	t.Helper()
	got := CompareEnvironments(a, b, strings.Compare)
	for i := range got.Layers {
		if got.Layers[i].Name == MetadataLayer {
			got.Layers[i].Size = 0 // the length of the tree is not the point
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestCompareEqual(t *testing.T) {
	t.Parallel()
	side := func() EnvironmentSide {
		return diffSide("1", map[string][]string{"bucket/00": {"a", "b"}}, nil)
	}
	none := []ValueChange{}
	compareDiff(t, side(), side(), EnvironmentDiff{
		Packages: none, Decisions: none, Launch: none, Probes: none,
		Layers: []LayerChange{{ChangeNone, "bucket/00", 2}, {ChangeNone, MetadataLayer, 0}},
		Files:  FilesChange{Total: 2, TotalSize: 2},
		Downloads: []Download{
			{Codec: "gzip", Size: 14, Layers: 2}, {Codec: "zstd", Size: 7, Layers: 2},
		},
	})
}

// A layer that changed only by losing a file costs metalrun nothing; one whose
// files came from another layer does neither.
func TestCompareLayers(t *testing.T) {
	t.Parallel()
	a := diffSide("1", map[string][]string{"bucket/00": {"aaaa", "bb"}, "wheel/big": {"same"}}, nil)
	b := diffSide("2", map[string][]string{"bucket/00": {"aaaa"}, "wheel/big": {"same", "more"}, "wheel/new": {"bb"}}, nil)
	none := []ValueChange{}
	want := EnvironmentDiff{
		Release:  &ValueChange{Kind: ChangeUp, From: "1", To: "2"},
		Packages: none, Decisions: none, Launch: none, Probes: none,
		Layers: []LayerChange{{ChangeOther, "bucket/00", 4}, {ChangeOther, "wheel/big", 8}, {ChangeAdded, "wheel/new", 2}, {ChangeOther, MetadataLayer, 0}},
		Files:  FilesChange{Total: 4, TotalSize: 14, New: 1, NewSize: 4},
		Downloads: []Download{
			{Codec: "gzip", Size: 38, Layers: 4, ByDigest: Fetch{4, 38}, ByContent: Fetch{2, 26}},
			{Codec: "zstd", Size: 19, Layers: 4, ByDigest: Fetch{4, 19}, ByContent: Fetch{2, 13}},
		},
	}
	compareDiff(t, a, b, want)

	// The old one has another codec alone: every blob of zstd is new by digest.
	a.Manifests = a.Manifests[:1]
	compareDiff(t, a, b, want)

	back := CompareEnvironments(b, a, strings.Compare)
	if d := cmp.Diff(LayerChange{ChangeRemoved, "wheel/new", 2}, back.Layers[len(back.Layers)-1]); d != "" {
		t.Error(d)
	}
}

func TestComparePackages(t *testing.T) {
	t.Parallel()
	p := func(name, version, sum string) Package { return Package{Name: name, Version: version, SHA256: sum} }
	from := []Package{p("down", "2", "a"), p("gone", "1", "a"), p("kept", "1", "a"), p("other", "1", "a"), p("respelled", "1.0", "a"), p("up", "1", "a"), p("above", "1", "a")}
	to := []Package{p("down", "1", "b"), p("fresh", "1", "a"), p("kept", "1", "a"), p("other", "1", "b"), p("respelled", "1.0.0", "b"), p("up", "2", "b"), p("above", "3", "b")}
	want := []ValueChange{
		{ChangeUp, "above", "1", "3"},
		{ChangeUp, "up", "1", "2"},
		{ChangeDown, "down", "2", "1"},
		{ChangeRebuilt, "other", "1", "1"},
		{ChangeRebuilt, "respelled", "1.0", "1.0.0"},
		{ChangeAdded, "fresh", "", "1"},
		{ChangeRemoved, "gone", "1", ""},
	}
	order := func(a, b string) int {
		return strings.Compare(strings.TrimSuffix(a, ".0"), strings.TrimSuffix(strings.TrimSuffix(b, ".0"), ".0"))
	}
	if d := cmp.Diff(want, diffPackages(from, to, order)); d != "" {
		t.Error(d)
	}
}

func TestCompareRest(t *testing.T) {
	t.Parallel()
	a := diffSide("1", nil, func(e *Environment) {
		e.Decisions = []Decision{{Kind: "waive", Package: "x", Rule: "pth", Reason: "old"}, {Kind: "exclude", Package: "y", Reason: "why"}}
		e.Probes = []Probe{{Name: "one", Code: "1"}}
	})
	b := diffSide("1", nil, func(e *Environment) {
		e.Platform.MacOS = "15.10"
		e.Interpreter.SHA256 = "bb"
		e.Decisions = []Decision{{Kind: "waive", Package: "x", Rule: "pth", Reason: "new"}}
		e.Probes = []Probe{{Name: "one", Code: "2"}, {Import: Strings{"m"}}}
		e.Launch = map[string]Profile{"stub": {Module: "stub"}, "more": {}}
	})
	got := CompareEnvironments(a, b, strings.Compare)
	got.Layers, got.Downloads, got.Packages = nil, nil, nil
	want := EnvironmentDiff{
		Floor:       &ValueChange{Kind: ChangeUp, From: "macos 15.0", To: "macos 15.10"}, // not as text
		Interpreter: &ValueChange{Kind: ChangeRebuilt, From: "3.12.3", To: "3.12.3"},
		Decisions:   []ValueChange{{ChangeRemoved, "exclude y", "why", ""}, {ChangeOther, "waive x pth", "old", "new"}},
		Launch:      []ValueChange{{ChangeAdded, "more", "", ""}},
		Probes:      []ValueChange{{ChangeAdded, "import m", "", ""}, {ChangeOther, "one", "", ""}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
