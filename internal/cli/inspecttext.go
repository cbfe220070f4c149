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
func indexText(out inspected) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s %s", out.Reference, out.Digest, out.Name, out.Release)
	if out.Size > 0 {
		fmt.Fprintf(&b, ", %s in all", ui.Bytes(out.Size))
	}
	b.WriteString("\n\nManifests\n")
	tab := table{align: "lllrrl"}
	tab.row("PLATFORM", "FLOOR", "CODEC", "LAYERS", "SIZE", "DIGEST")
	for _, m := range out.Manifests {
		tab.row(m.Platform, m.Floor, m.Codec, strconv.Itoa(len(m.Layers)), ui.Bytes(m.Size), m.Digest)
	}
	b.WriteString(tab.String())
	for _, m := range out.Manifests {
		if m.Environment != nil {
			b.WriteString("\n" + m.text(out.Manifests))
		}
	}
	return b.String()
}

// text renders the environment of a platform, with the layers of all its
// manifests side by side.
func (m *inspectedManifest) text(all []inspectedManifest) string {
	var b strings.Builder
	e := m.Environment
	fmt.Fprintf(&b, "%s (%s)\n", m.Platform, m.Floor)
	tab := table{align: "ll"}
	tab.row("interpreter", "CPython "+e.Interpreter.Version)
	tab.row("version id", m.VersionID)
	tab.row("tree", m.TreeDigest)
	tab.row("files", fmt.Sprintf("%d, %s", m.Files, ui.Bytes(m.Unpacked)))
	b.WriteString(tab.String())
	b.WriteString("\nLayers\n" + m.layerTable(all))
	b.WriteString("\n" + ui.Plural(len(e.Packages), "package") + "\n" + packageTable(e.Packages))
	b.WriteString(decisionText(e.Decisions))
	b.WriteString(serveText(e))
	return b.String()
}

// layerTable has a size and a share for each manifest of the tree.
func (m *inspectedManifest) layerTable(all []inspectedManifest) string {
	var twins []inspectedManifest
	for _, t := range all {
		if t.TreeDigest == m.TreeDigest && t.Platform == m.Platform && len(t.Layers) == len(m.Layers) {
			twins = append(twins, t)
		}
	}
	tab := table{align: "lrr" + strings.Repeat("rr", len(twins))}
	head := append(make([]string, 0, len(tab.align)), "NAME", "FILES", "UNPACKED")
	for _, t := range twins {
		codec, _, _ := strings.Cut(t.Codec, "-")
		head = append(head, strings.ToUpper(codec), "SHARE")
	}
	tab.row(head...)
	for i, l := range m.Layers {
		row := append(make([]string, 0, len(tab.align)), l.Name, strconv.Itoa(l.Entries), ui.Bytes(l.Unpacked))
		for _, t := range twins {
			row = append(row, ui.Bytes(t.Layers[i].Size), fmt.Sprintf("%.1f%%", 100*t.Layers[i].Share))
		}
		tab.row(row...)
	}
	return tab.String()
}

func packageTable(all []bundle.Package) string {
	tab := table{align: "lll"}
	for _, p := range all {
		tab.row(p.Name, p.Version, p.Layer)
	}
	return tab.String()
}

// serveText names the launch profiles and the probes.
func serveText(e *bundle.Environment) string {
	var b strings.Builder
	if len(e.Launch) > 0 {
		b.WriteString("\nLaunch profiles\n")
		tab := table{align: "ll"}
		for _, name := range slices.Sorted(maps.Keys(e.Launch)) {
			tab.row(name, "python -m "+e.Launch[name].Module)
		}
		b.WriteString(tab.String())
	}
	if len(e.Probes) > 0 {
		b.WriteString("\nProbes\n")
		tab := table{align: "ll"}
		for _, p := range e.Probes {
			on := ""
			if p.On != "" {
				on = "on " + p.On
			}
			tab.row(p.Label(), on)
		}
		b.WriteString(tab.String())
	}
	return b.String()
}
