// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/internal/ui"
	"github.com/metalpack/metalpack/recipes"
)

// lockRow is the result of lock for one target.
type lockRow struct {
	Platform string `json:"platform"`
	File     string `json:"file"`
	Changed  bool   `json:"changed"`
	lock.Difference

	floor string
	first bool // there was no lock to compare with
}

// compare fills in what changed. An old lock that selects nothing for the
// target counts as none.
func (row *lockRow) compare(a *app, t *target.Target, old, fresh *lock.Lock) error {
	after, err := fresh.Select(t)
	if err != nil {
		return err
	}
	var before []lock.Wheel
	if row.first = old == nil; !row.first {
		if before, err = old.Select(t); err != nil {
			a.Note("%s: the old lock cannot be compared: %v", row.File, err)
			row.first = true
		}
	}
	if row.Difference = lock.Compare(before, after); row.first {
		row.Changes = []lock.Change{} // all would be new
	}
	return nil
}

// lockText is what lock prints.
func lockText(r *recipes.Recipe, rows []lockRow, o lockOptions, table ui.TableFunc) string {
	var b strings.Builder
	for i, row := range rows {
		if o.summary == "markdown" {
			if i > 0 {
				b.WriteString("\n")
			}
			row.markdown(&b, r.Name)
			continue
		}
		state := "unchanged"
		switch {
		case row.Changed && o.check:
			state = "would change"
		case row.Changed:
			state = "written"
		}
		fmt.Fprintf(&b, "%s  %s  %s  %s\n", row.Platform, row.File, ui.Plural(row.Packages, "package"), state)
		row.text(&b, table)
	}
	return b.String()
}

// text lists the changes, one a line, and their sum.
func (row lockRow) text(b *strings.Builder, table ui.TableFunc) {
	var rows ui.Rows
	for _, c := range row.Changes {
		versions := c.From
		switch c.Kind {
		case lock.Up, lock.Down:
			versions = c.From + " -> " + c.To
		case lock.Added:
			versions = c.To
		}
		rows.Add(c.Kind, c.Name, versions, sizeChange(c))
	}
	b.WriteString(table("lllr", rows))
	if row.Changed {
		fmt.Fprintf(b, "  %s\n", row.sum())
	}
}

// sum says how large the packages are in all, and how that changed.
func (row lockRow) sum() string {
	text := ui.Plural(row.Packages, "package") + ", " + ui.Bytes(row.Size)
	if !row.first {
		text += " (" + signed(row.Size-row.OldSize) + ")"
	}
	if row.Unsized > 0 {
		text += fmt.Sprintf(", and %d of unknown size", row.Unsized)
	}
	return text
}

// markdown writes the changes as a table of GitHub's.
func (row lockRow) markdown(b *strings.Builder, name string) {
	fmt.Fprintf(b, "### %s for %s (%s)\n\n", name, row.Platform, row.floor)
	switch {
	case !row.Changed:
		b.WriteString("No changes.\n\n")
	case row.first:
		b.WriteString("A first lock.\n\n")
	case len(row.Changes) == 0:
		b.WriteString("The same packages.\n\n")
	default:
		rows := ui.Rows{{"", "package", "from", "to", "size"}}
		for _, c := range row.Changes {
			rows.Add(c.Kind, c.Name, c.From, c.To, sizeChange(c))
		}
		b.WriteString(mdTable("llllr", rows) + "\n")
	}
	fmt.Fprintf(b, "%s\n", row.sum())
}

// sizeChange is what a change adds to the download; "" when a size that counts
// is not known.
func sizeChange(c lock.Change) string {
	if c.Kind != lock.Added && c.OldSize == 0 || c.Kind != lock.Removed && c.NewSize == 0 {
		return ""
	}
	return signed(c.NewSize - c.OldSize)
}

func signed(n int64) string {
	if n < 0 {
		return "-" + ui.Bytes(-n)
	}
	return "+" + ui.Bytes(n)
}
