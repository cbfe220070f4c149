// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package macho

import (
	"fmt"
	"slices"
	"strings"
)

// maxNamed is how many files, warnings or errors of a kind are named in a text.
const maxNamed = 10

// Text is the report for a terminal: a line for all, the table, the files that
// need the highest macOS, the warnings. Violations are errors: see [Report.Err].
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Mach-O: %s in %s", plural(r.Binaries, "binary", "binaries"), plural(r.Packages, "package", "packages"))
	if r.Floor != 0 {
		fmt.Fprintf(&b, ", floor macOS %s", r.Floor)
	}
	for _, e := range r.Exempt {
		fmt.Fprintf(&b, ", %d %s", e.Files, e.Kind)
	}
	b.WriteString("\n")
	if len(r.Rows) > 0 {
		fmt.Fprintf(&b, "%13s  %8s  %8s\n", "minimum macOS", "binaries", "packages")
	}
	for i, row := range r.Rows {
		fmt.Fprintf(&b, "%13s  %8d  %8d\n", minimumText(row.MinOS), row.Binaries, row.Packages)
		if i == 0 {
			for _, p := range r.Highest[:min(len(r.Highest), maxNamed)] {
				fmt.Fprintf(&b, "%15s%s: %s\n", "", p.Owner, p.Path)
			}
			more(&b, len(r.Highest))
		}
	}
	r.foreignText(&b)
	return b.String()
}

// foreignText warns of what dyld follows and counts what it does not.
func (r *Report) foreignText(b *strings.Builder) {
	followed := slices.DeleteFunc(slices.Clone(r.Foreign), func(f Foreign) bool { return f.Kind == KindID })
	for _, f := range followed[:min(len(followed), maxNamed)] {
		fmt.Fprintf(b, "warning: %s: %s %q leads out of the system (%s)\n", f.Owner, f.Kind, f.Dir, plural(len(f.Files), "file", "files"))
	}
	more(b, len(followed))
	ids := 0
	for _, f := range r.Foreign[len(followed):] {
		ids += len(f.Files)
	}
	if ids > 0 {
		fmt.Fprintf(b, "%s of the machine it was built on, which nothing follows\n", plural(ids, "library has a name", "libraries have a name"))
	}
}

// more says how many were not named.
func more(b *strings.Builder, n int) {
	if n > maxNamed {
		fmt.Fprintf(b, "%15sand %d more\n", "", n-maxNamed)
	}
}

func minimumText(v Version) string {
	if v == 0 {
		return "not said"
	}
	return v.String()
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
