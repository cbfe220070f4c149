// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ui"
)

// text renders a comparison for a terminal.
func (d diffResult) text(table ui.TableFunc) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n  old  %s  %s\n  new  %s  %s\n", d.heading(), d.From.Reference, d.From.Digest, d.To.Reference, d.To.Digest)
	for _, p := range d.Platforms {
		fmt.Fprintf(&b, "\n%s (%s): %s\n", p.Platform, p.Floor, platformWord(p.Kind))
		if p.Kind != bundle.ChangeOther {
			continue
		}
		b.WriteString(table("llll", changeRows(p.Diff)))
		if n := len(p.Diff.Packages); n > 0 {
			fmt.Fprintf(&b, "\nPackages: %s\n%s", packageCounts(p.Diff.Packages), packageChanges(p.Diff.Packages, table))
		}
		fmt.Fprintf(&b, "\nLayers: %s\n%s", layerCounts(p.Diff.Layers), layerChanges(p.Diff.Layers, table))
		fmt.Fprintf(&b, "\nAn upgrade (%s of %s are new, %s of %s)\n%s", ui.Plural(p.Diff.Files.New, "file"), strconv.Itoa(p.Diff.Files.Total),
			ui.Bytes(p.Diff.Files.NewSize), ui.Bytes(p.Diff.Files.TotalSize), table("lrrrrr", downloadRows(p.Diff.Downloads)))
	}
	return b.String()
}

// platformWord says in words what became of a platform.
func platformWord(k bundle.ChangeKind) string {
	switch k {
	case bundle.ChangeNone:
		return "the same in both"
	case bundle.ChangeAdded:
		return "only in the new environment"
	case bundle.ChangeRemoved:
		return "only in the old environment"
	default:
		return "differs"
	}
}

// changeRows lists what differs beside packages and layers: what, how, from, to.
func changeRows(d *bundle.EnvironmentDiff) (rows ui.Rows) {
	for _, one := range []struct {
		what string
		v    *bundle.ValueChange
	}{{"release", d.Release}, {"floor", d.Floor}, {"interpreter", d.Interpreter}} {
		if one.v != nil {
			rows.Add(one.what, "", string(one.v.Kind), arrow(*one.v))
		}
	}
	for _, list := range []struct {
		what string
		all  []bundle.ValueChange
	}{{"decision", d.Decisions}, {"launch profile", d.Launch}, {"probe", d.Probes}} {
		for _, c := range list.all {
			rows.Add(list.what, c.Name, string(c.Kind), arrow(c))
		}
	}
	return rows
}

// arrow shows a value before and after.
func arrow(c bundle.ValueChange) string {
	switch {
	case c.From == c.To:
		return c.To
	case c.From == "" || c.To == "":
		return c.From + c.To
	}
	return c.From + " -> " + c.To
}

func packageChanges(all []bundle.ValueChange, table ui.TableFunc) string {
	var rows ui.Rows
	for _, c := range all {
		rows.Add(string(c.Kind), c.Name, arrow(c))
	}
	return table("lll", rows)
}

// packageCounts tells how many packages changed in which way.
func packageCounts(all []bundle.ValueChange) string {
	var words []string
	for i, c := range all { // sorted by kind
		if i > 0 && all[i-1].Kind == c.Kind {
			continue
		}
		n := 0
		for _, o := range all {
			if o.Kind == c.Kind {
				n++
			}
		}
		words = append(words, fmt.Sprintf("%d %s", n, c.Kind))
	}
	return strings.Join(words, ", ")
}

// layerKinds are the ways of a layer, each with its word.
var layerKinds = []struct {
	kind bundle.ChangeKind
	word string
}{{bundle.ChangeNone, "shared"}, {bundle.ChangeOther, "changed"}, {bundle.ChangeAdded, "new"}, {bundle.ChangeRemoved, "gone"}}

// layerCounts sums up layers by kind, with the unpacked bytes of their files.
func layerCounts(all []bundle.LayerChange) string {
	var words []string
	for _, k := range layerKinds {
		n, size := 0, int64(0)
		for _, l := range all {
			if l.Kind == k.kind {
				n, size = n+1, size+l.Size
			}
		}
		if n > 0 {
			words = append(words, fmt.Sprintf("%d %s (%s)", n, k.word, ui.Bytes(size)))
		}
	}
	return strings.Join(words, ", ") + ", unpacked"
}

// layerChanges lists the layers that are not shared.
func layerChanges(all []bundle.LayerChange, table ui.TableFunc) string {
	var rows ui.Rows
	for _, k := range layerKinds[1:] {
		for _, l := range all {
			if l.Kind == k.kind {
				rows.Add(k.word, l.Name, ui.Bytes(l.Size))
			}
		}
	}
	return table("llr", rows)
}

// downloadRows tells what an upgrade downloads in each codec, below a head.
func downloadRows(all []bundle.Download) ui.Rows {
	rows := ui.Rows{{"CODEC", "WHOLE", "BY DIGEST", "LAYERS", "METALRUN", "LAYERS"}}
	for _, d := range all {
		of := func(f bundle.Fetch) string { return fmt.Sprintf("%d of %d", f.Layers, d.Layers) }
		rows.Add(d.Codec, ui.Bytes(d.Size), ui.Bytes(d.ByDigest.Size), of(d.ByDigest), ui.Bytes(d.ByContent.Size), of(d.ByContent))
	}
	return rows
}

// markdown renders a comparison for a release note or a pull request.
func (d diffResult) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n", md(d.heading()))
	for _, p := range d.Platforms {
		fmt.Fprintf(&b, "\n### %s (%s)\n\n", md(p.Platform), md(p.Floor))
		if p.Kind != bundle.ChangeOther {
			b.WriteString("This platform is " + platformWord(p.Kind) + ".\n")
			continue
		}
		b.WriteString("**An upgrade downloads** " + upgradeText(p.Diff) + ".\n")
		if rows := changeRows(p.Diff); len(rows) > 0 {
			b.WriteString("\n")
			for _, r := range rows {
				fmt.Fprintf(&b, "- %s\n", md(strings.Join(strings.Fields(r[0]+" "+r[1]+" "+r[2]+": "+r[3]), " ")))
			}
		}
		if len(p.Diff.Packages) > 0 {
			rows := ui.Rows{{"Package", "Old", "New", ""}}
			for _, c := range p.Diff.Packages {
				rows.Add(c.Name, c.From, c.To, string(c.Kind))
			}
			fmt.Fprintf(&b, "\nPackages: %s\n\n%s", packageCounts(p.Diff.Packages), mdTable("llll", rows))
		}
		fmt.Fprintf(&b, "\nLayers: %s\n\n%s", layerCounts(p.Diff.Layers), mdTable("lrrrrr", downloadRows(p.Diff.Downloads)))
	}
	return b.String()
}

// upgradeText tells what metalrun downloads, in the codec that it prefers.
func upgradeText(d *bundle.EnvironmentDiff) string {
	if len(d.Downloads) == 0 {
		return "nothing"
	}
	best := d.Downloads[len(d.Downloads)-1]
	for _, dl := range d.Downloads {
		if dl.Codec == "zstd" {
			best = dl
		}
	}
	return fmt.Sprintf("%s of %s (%s, %d of %d layers)", ui.Bytes(best.ByContent.Size), ui.Bytes(best.Size), best.Codec, best.ByContent.Layers, best.Layers)
}
