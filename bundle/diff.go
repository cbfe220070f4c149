// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// ChangeKind says how something differs between two environments.
type ChangeKind string

// The kinds of change, in the order in which they are listed.
const (
	ChangeUp      ChangeKind = "up"      // a newer version
	ChangeDown    ChangeKind = "down"    // an older version
	ChangeRebuilt ChangeKind = "rebuilt" // the same version from another file
	ChangeAdded   ChangeKind = "added"
	ChangeRemoved ChangeKind = "removed"
	ChangeOther   ChangeKind = "changed" // differs; there is no order
	ChangeNone    ChangeKind = "same"
)

// EnvironmentSide is one environment of a comparison: one platform of an
// artifact, with its manifests in every codec.
type EnvironmentSide struct {
	Environment *Environment
	Tree        *Tree
	Manifests   []CodecLayers
}

// CodecLayers are the layers of an environment in one codec.
type CodecLayers struct {
	Codec  string // gzip or zstd
	Layers []Descriptor
}

// EnvironmentDiff says what changes from one environment to another.
type EnvironmentDiff struct {
	Release     *ValueChange  `json:"release,omitempty"`
	Floor       *ValueChange  `json:"floor,omitempty"`
	Interpreter *ValueChange  `json:"interpreter,omitempty"`
	Packages    []ValueChange `json:"packages"` // those that differ, by kind and then by name
	Decisions   []ValueChange `json:"decisions"`
	Launch      []ValueChange `json:"launch"`
	Probes      []ValueChange `json:"probes"`
	Layers      []LayerChange `json:"layers"` // all, in the order of the new manifest, those that are gone last
	Files       FilesChange   `json:"files"`
	Downloads   []Download    `json:"downloads"` // one per codec of the new environment
}

// ValueChange is something that differs.
type ValueChange struct {
	Kind ChangeKind `json:"kind"`
	Name string     `json:"name,omitempty"`
	From string     `json:"from,omitempty"` // version, or what is there in short
	To   string     `json:"to,omitempty"`
}

// LayerChange is one layer by its content, whatever the codec.
type LayerChange struct {
	Kind ChangeKind `json:"kind"` // same, changed, added or removed
	Name string     `json:"name"`
	Size int64      `json:"size"` // bytes of its files; of the old ones when it is removed
}

// FilesChange compares the trees, in files and bytes.
type FilesChange struct {
	Total     int   `json:"total"` // of the new environment
	TotalSize int64 `json:"totalSize"`
	New       int   `json:"new"` // with content that the old one has in no file
	NewSize   int64 `json:"newSize"`
}

// Download is what an upgrade costs in one codec.
type Download struct {
	Codec     string `json:"codec"`
	Size      int64  `json:"size"` // compressed bytes of the whole new environment
	Layers    int    `json:"layers"`
	ByDigest  Fetch  `json:"byDigest"`  // what a client fetches that keeps the old blobs
	ByContent Fetch  `json:"byContent"` // what metalrun fetches: layers with a file whose content is nowhere in the old tree, and the metadata
}

// Fetch is a number of layers and their compressed bytes.
type Fetch struct {
	Layers int   `json:"layers"`
	Size   int64 `json:"size"`
}

func (f *Fetch) add(size int64) { f.Layers, f.Size = f.Layers+1, f.Size+size }

// CompareEnvironments says what changes from a to b, which are of one platform.
// compareVersions orders two versions that differ like [strings.Compare].
func CompareEnvironments(a, b EnvironmentSide, compareVersions func(a, b string) int) EnvironmentDiff {
	x, y := a.Environment, b.Environment
	known := contents(a.Tree)
	return EnvironmentDiff{
		Release:     diffValue(x.Release, y.Release, ordered(x.Release, y.Release, compareVersions)),
		Floor:       diffValue(x.Platform.Floor(), y.Platform.Floor(), ordered(x.Platform.MacOS+x.Platform.Glibc, y.Platform.MacOS+y.Platform.Glibc, compareVersionsDotted)),
		Interpreter: diffInterpreter(x.Interpreter, y.Interpreter, compareVersions),
		Packages:    diffPackages(x.Packages, y.Packages, compareVersions),
		Decisions:   diffMaps(decisionTexts(x), decisionTexts(y)),
		Launch:      diffMaps(profileValues(x), profileValues(y)),
		Probes:      diffMaps(probeValues(x), probeValues(y)),
		Layers:      diffLayers(a, b),
		Files:       diffFiles(known, b.Tree),
		Downloads:   downloads(a, b, known),
	}
}

func compareVersionsDotted(a, b string) int { return compareVersions(a, b) }

// ordered says which way a version goes.
func ordered(from, to string, compare func(a, b string) int) ChangeKind {
	switch c := compare(from, to); {
	case from == to:
		return ChangeNone
	case c < 0:
		return ChangeUp
	case c > 0:
		return ChangeDown
	}
	return ChangeOther
}

func diffValue(from, to string, kind ChangeKind) *ValueChange {
	if kind == ChangeNone {
		return nil
	}
	return &ValueChange{Kind: kind, From: from, To: to}
}

func diffInterpreter(a, b Interpreter, compare func(a, b string) int) *ValueChange {
	kind := ordered(a.Version, b.Version, compare)
	if kind == ChangeNone && a.SHA256 != b.SHA256 {
		kind = ChangeRebuilt
	}
	return diffValue(a.Version, b.Version, kind)
}

func diffPackages(from, to []Package, compare func(a, b string) int) []ValueChange {
	out := []ValueChange{}
	old := map[string]Package{}
	for _, p := range from {
		old[p.Name] = p
	}
	for _, p := range to {
		was, ok := old[p.Name]
		delete(old, p.Name)
		kind := ChangeAdded
		if ok {
			kind = ordered(was.Version, p.Version, compare)
			if kind == ChangeOther || kind == ChangeNone && was.SHA256 != p.SHA256 {
				kind = ChangeRebuilt // versions that are written differently are equal
			}
		}
		if kind != ChangeNone {
			out = append(out, ValueChange{Kind: kind, Name: p.Name, From: was.Version, To: p.Version})
		}
	}
	for _, p := range old {
		out = append(out, ValueChange{Kind: ChangeRemoved, Name: p.Name, From: p.Version})
	}
	slices.SortFunc(out, compareChanges)
	return out
}

var changeOrder = []ChangeKind{ChangeUp, ChangeDown, ChangeRebuilt, ChangeAdded, ChangeRemoved, ChangeOther, ChangeNone}

func compareChanges(a, b ValueChange) int {
	return cmp.Or(cmp.Compare(slices.Index(changeOrder, a.Kind), slices.Index(changeOrder, b.Kind)), strings.Compare(a.Name, b.Name))
}

// decisionTexts names each decision and gives its reason.
func decisionTexts(e *Environment) map[string]any {
	out := map[string]any{}
	for _, d := range e.Decisions {
		out[strings.Join(strings.Fields(d.Kind+" "+d.Package+" "+d.Rule+" "+d.Path), " ")] = d.Reason
	}
	return out
}

func profileValues(e *Environment) map[string]any {
	out := map[string]any{}
	for name, p := range e.Launch {
		out[name] = p
	}
	return out
}

func probeValues(e *Environment) map[string]any {
	out := map[string]any{}
	for _, p := range e.Probes {
		out[p.Label()] = p
	}
	return out
}

// diffMaps compares values by name. Texts are shown, other values only named.
func diffMaps(from, to map[string]any) []ValueChange {
	out := []ValueChange{}
	text := func(v any) string { s, _ := v.(string); return s }
	for name, v := range to {
		was, ok := from[name]
		switch {
		case !ok:
			out = append(out, ValueChange{Kind: ChangeAdded, Name: name, To: text(v)})
		case !reflect.DeepEqual(was, v):
			out = append(out, ValueChange{Kind: ChangeOther, Name: name, From: text(was), To: text(v)})
		}
	}
	for name, v := range from {
		if _, ok := to[name]; !ok {
			out = append(out, ValueChange{Kind: ChangeRemoved, Name: name, From: text(v)})
		}
	}
	slices.SortFunc(out, compareChanges)
	return out
}

// layerKeys maps the name of each layer to what its content depends on. The
// metadata layer has no identity in the environment it carries: the tree, which
// holds the hashes of its other files, stands for it.
func layerKeys(s EnvironmentSide) (names []string, keys map[string]string, sizes map[string]int64) {
	keys, sizes = map[string]string{}, map[string]int64{}
	for _, l := range s.Environment.Layers {
		names = append(names, l.Name)
		keys[l.Name], sizes[l.Name] = l.Identity, l.Size
	}
	names = append(names, MetadataLayer)
	tree := s.Tree.Encode()
	keys[MetadataLayer], sizes[MetadataLayer] = TreeDigest(tree).String(), int64(len(tree))
	for _, e := range s.Tree.Entries {
		if e.Layer == MetadataLayer {
			sizes[MetadataLayer] += e.Size
		}
	}
	return names, keys, sizes
}

func diffLayers(a, b EnvironmentSide) []LayerChange {
	oldNames, oldKeys, oldSizes := layerKeys(a)
	names, keys, sizes := layerKeys(b)
	out := make([]LayerChange, 0, len(names))
	for _, name := range names {
		kind := ChangeOther
		switch oldKeys[name] {
		case "":
			kind = ChangeAdded
		case keys[name]:
			kind = ChangeNone
		}
		out = append(out, LayerChange{Kind: kind, Name: name, Size: sizes[name]})
	}
	for _, name := range oldNames {
		if keys[name] == "" {
			out = append(out, LayerChange{Kind: ChangeRemoved, Name: name, Size: oldSizes[name]})
		}
	}
	return out
}

// contents is the set of what files of a tree hold, by sha256.
func contents(t *Tree) map[string]bool {
	known := make(map[string]bool, len(t.Entries))
	for _, e := range t.Entries {
		if !e.IsLink() {
			known[e.SHA256] = true
		}
	}
	return known
}

func diffFiles(known map[string]bool, t *Tree) FilesChange {
	out := FilesChange{Total: len(t.Entries), TotalSize: t.Size()}
	for _, e := range t.Entries {
		if !e.IsLink() && !known[e.SHA256] {
			out.New++
			out.NewSize += e.Size
		}
	}
	return out
}

// downloads tells for each codec of b what it costs to come from a.
func downloads(a, b EnvironmentSide, known map[string]bool) []Download {
	wanted := map[string]bool{MetadataLayer: true} // by metalrun: it tells what the rest is
	for _, e := range b.Tree.Entries {
		if !e.IsLink() && !known[e.SHA256] {
			wanted[e.Layer] = true
		}
	}
	have := map[string]bool{} // blobs of all codecs: digests do not collide
	for _, m := range a.Manifests {
		for _, l := range m.Layers {
			have[l.Digest.String()] = true
		}
	}
	out := make([]Download, 0, len(b.Manifests))
	for _, m := range b.Manifests {
		d := Download{Codec: m.Codec, Layers: len(m.Layers)}
		for _, l := range m.Layers {
			d.Size += l.Size
			if have[l.Digest.String()] {
				continue
			}
			d.ByDigest.add(l.Size)
			if wanted[l.Annotations[AnnotationLayer]] {
				d.ByContent.add(l.Size)
			}
		}
		out = append(out, d)
	}
	return out
}
