// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ui"
)

// text renders a dry run; recipe is what to type to name the recipe.
func (d dryRun) text(recipe string, table ui.TableFunc) string {
	var b strings.Builder
	for i, t := range d.Targets {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s %s for %s (%s), CPython %s: a dry run, nothing is written\n", d.Name, d.Release, t.Platform, t.Floor, t.Python)
		if !t.Complete {
			b.WriteString("\n" + t.partialText(recipe))
		}
		fmt.Fprintf(&b, "\nInputs\n%s\nLayers\n%s", t.inputTable(table), t.layerTable(table))
		b.WriteString(decisionText(t.Decisions, table))
		b.WriteString(t.sumText())
	}
	if d.Destination != nil {
		b.WriteString(d.Destination.text())
	}
	return b.String()
}

// partialText says what a plan on too few files cannot tell.
func (t *plannedTarget) partialText(recipe string) string {
	var b strings.Builder
	s := t.Sums
	fmt.Fprintf(&b, "PARTIAL PLAN: %d of %s are not on this machine", s.Archived+s.Download, ui.Plural(len(t.Inputs), "input"))
	if s.Archived > 0 {
		fmt.Fprintf(&b, "; in archives: %s", ui.Bytes(s.ArchivedSize))
	}
	if s.Download > 0 {
		fmt.Fprintf(&b, "; to download: %s", s.downloadText())
	}
	b.WriteString(".\n")
	for _, in := range t.Inputs {
		if in.Where == inputs.Nowhere {
			fmt.Fprintf(&b, "No address is known of %s: put it into a directory and name that with --find-links.\n", in.File)
		}
	}
	fmt.Fprintf(&b, "Names, sizes and the layer of each wheel come from the lock%s alone. The files, their number,\n"+
		"identities and what the layer cache has are known after 'metalpack fetch %s --platform %s%s'.\n",
		also(s.Archived > 0, " and archives"), recipe, t.Platform, also(s.Archived > 0, " --inputs-from …"))
	return b.String()
}

// also is a text, where it belongs.
func also(belongs bool, text string) string {
	if belongs {
		return text
	}
	return ""
}

// downloadText tells the bytes to download, and those that nobody knows.
func (s plannedSums) downloadText() string {
	unknown := ui.Plural(s.UnknownSizes, "file") + " of unknown size"
	switch {
	case s.UnknownSizes == 0:
		return ui.Bytes(s.DownloadSize)
	case s.DownloadSize == 0:
		return unknown
	}
	return ui.Bytes(s.DownloadSize) + " and " + unknown
}

func (t *plannedTarget) inputTable(table ui.TableFunc) string {
	rows := ui.Rows{{"NAME", "VERSION", "SIZE", "WHERE", "LAYER", "FILE"}}
	for _, in := range t.Inputs {
		rows.Add(in.Name, in.Version, size(in.Size), where(in), orUnknown(in.Layer), in.File)
	}
	return table("llrlll", rows)
}

// where says in a word where an input is.
func where(in plannedInput) string {
	switch in.Where {
	case inputs.InCache:
		return "cache"
	case inputs.InDirectory:
		return path.Base(path.Dir(in.Path)) + "/"
	case inputs.InArchive:
		return "archive"
	case inputs.Nowhere:
		return "MISSING"
	}
	return "download"
}

func (t *plannedTarget) layerTable(table ui.TableFunc) string {
	rows := ui.Rows{{"NAME", "INPUTS", "SIZE", "FILES", "BYTES", "IDENTITY", "CACHED"}}
	for _, l := range t.Layers {
		files, from, bytes := "?", "-", "-" // the metadata layer has no inputs
		if l.Entries > 0 {
			files = strconv.Itoa(l.Entries)
		}
		if l.Inputs > 0 {
			from, bytes = strconv.Itoa(l.Inputs), size(l.Input)
		}
		rows.Add(l.Name, from, bytes, files, size(l.Size), orUnknown(short(l.Identity)), l.cachedText())
	}
	return table("lrrrrll", rows)
}

// cachedText lists the codecs in which the cache has a layer, and those in which
// it will be built.
func (l *plannedLayer) cachedText() string {
	words := make([]string, 0, len(l.Blobs))
	for _, b := range l.Blobs {
		state := "to build"
		if b.Cached {
			state = ui.Bytes(b.Size)
		}
		words = append(words, codecName(b.Codec)+" "+state)
	}
	return orUnknown(strings.Join(words, ", "))
}

// decisionText lists decisions, with a heading.
func decisionText(all []bundle.Decision, table ui.TableFunc) string {
	if len(all) == 0 {
		return ""
	}
	var rows ui.Rows
	for _, d := range all {
		rows.Add(d.Kind, strings.Join(strings.Fields(d.Package+" "+d.Rule+" "+d.Path), " "), d.Reason)
	}
	return "\nDecisions\n" + table("lll", rows)
}

func (t *plannedTarget) sumText() string {
	s := t.Sums
	text := fmt.Sprintf("\n%s; %s here (%s)", ui.Plural(s.Packages, "package"), ui.Plural(s.Here, "input"), ui.Bytes(s.HereSize))
	if s.Archived > 0 {
		text += fmt.Sprintf(", %d in archives (%s)", s.Archived, ui.Bytes(s.ArchivedSize))
	}
	text += fmt.Sprintf(", %d to download", s.Download)
	if s.Download > 0 {
		text += " (" + s.downloadText() + ")"
	}
	if !t.Complete {
		return text + fmt.Sprintf("; at least %s\n", ui.Plural(len(t.Layers), "layer"))
	}
	return text + fmt.Sprintf("\n%s, %s; %s: %d in the cache, %d to build\n", ui.Plural(s.Files, "file"), ui.Bytes(s.Size), ui.Plural(len(t.Layers), "layer"), s.LayersCached, s.LayersToBuild)
}

// size prints bytes that may not be known.
func size(n int64) string {
	if n == 0 {
		return "?"
	}
	return ui.Bytes(n)
}

func orUnknown(s string) string {
	if s == "" {
		return "?"
	}
	return s
}

// short is the part of a hash that people compare.
func short(hash string) string { return hash[:min(len(hash), 12)] }
