// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ui"
)

// indexText renders an environment: the manifests first, then each platform.
func indexText(out inspected, table ui.TableFunc) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s %s", out.Reference, out.Digest, out.Name, out.Release)
	if out.Size > 0 {
		fmt.Fprintf(&b, ", %s in all", ui.Bytes(out.Size))
	}
	b.WriteString("\n\nManifests\n")
	rows := ui.Rows{{"PLATFORM", "FLOOR", "CODEC", "LAYERS", "SIZE", "DIGEST"}}
	for _, m := range out.Manifests {
		rows.Add(m.Platform, m.Floor, m.Codec, strconv.Itoa(len(m.Layers)), ui.Bytes(m.Size), m.Digest)
	}
	b.WriteString(table("lllrrl", rows))
	for _, m := range out.Manifests {
		if m.Environment != nil {
			b.WriteString("\n" + m.text(out.Manifests, table))
		}
	}
	return b.String()
}

// text renders the environment of a platform, with the layers of all its
// manifests side by side.
func (m *inspectedManifest) text(all []inspectedManifest, table ui.TableFunc) string {
	var b strings.Builder
	e := m.Environment
	fmt.Fprintf(&b, "%s (%s)\n", m.Platform, m.Floor)
	b.WriteString(table("ll", [][]string{
		{"interpreter", "CPython " + e.Interpreter.Version},
		{"version id", m.VersionID},
		{"tree", m.TreeDigest},
		{"files", fmt.Sprintf("%d, %s", m.Files, ui.Bytes(m.Unpacked))},
	}))
	b.WriteString("\nLayers\n" + m.layerTable(all, table))
	b.WriteString("\n" + ui.Plural(len(e.Packages), "package") + "\n" + packageTable(e.Packages, table))
	b.WriteString(decisionText(e.Decisions, table))
	b.WriteString(serveText(e, table))
	return b.String()
}

// layerTable has a size and a share for each manifest of the tree.
func (m *inspectedManifest) layerTable(all []inspectedManifest, table ui.TableFunc) string {
	var twins []inspectedManifest
	for _, t := range all {
		if t.TreeDigest == m.TreeDigest && t.Platform == m.Platform && len(t.Layers) == len(m.Layers) {
			twins = append(twins, t)
		}
	}
	codecs := make([]string, 0, 2*len(twins))
	for _, t := range twins {
		codecs = append(codecs, strings.ToUpper(codecName(t.Codec)), "SHARE")
	}
	var rows ui.Rows
	rows.Add(slices.Concat([]string{"NAME", "FILES", "UNPACKED"}, codecs)...)
	for i, l := range m.Layers {
		sizes := make([]string, 0, 2*len(twins))
		for _, t := range twins {
			sizes = append(sizes, ui.Bytes(t.Layers[i].Size), fmt.Sprintf("%.1f%%", 100*t.Layers[i].Share))
		}
		rows.Add(slices.Concat([]string{l.Name, strconv.Itoa(l.Entries), ui.Bytes(l.Unpacked)}, sizes)...)
	}
	return table("lrr"+strings.Repeat("rr", len(twins)), rows)
}

// codecName is the word for a codec without its library, version and level.
func codecName(codec string) string {
	name, _, _ := strings.Cut(codec, "-")
	return name
}

func packageTable(all []bundle.Package, table ui.TableFunc) string {
	var rows ui.Rows
	for _, p := range all {
		rows.Add(p.Name, p.Version, p.Layer)
	}
	return table("lll", rows)
}

// serveText names the launch profiles and the probes.
func serveText(e *bundle.Environment, table ui.TableFunc) string {
	var b strings.Builder
	if len(e.Launch) > 0 {
		var rows ui.Rows
		for _, name := range slices.Sorted(maps.Keys(e.Launch)) {
			rows.Add(name, "python -m "+e.Launch[name].Module)
		}
		b.WriteString("\nLaunch profiles\n" + table("ll", rows))
	}
	if len(e.Probes) > 0 {
		var rows ui.Rows
		for _, p := range e.Probes {
			on := ""
			if p.On != "" {
				on = "on " + p.On
			}
			rows.Add(p.Label(), on)
		}
		b.WriteString("\nProbes\n" + table("ll", rows))
	}
	return b.String()
}
