// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"os"
	"strings"

	"golang.org/x/term"
)

// Columns aligns rows of cells, indented by two blanks; align has an 'l' or an
// 'r' for each column, or a 'd' for what is aligned to the left and may be
// shortened by Fit, as digests may. A cell is made one line that is safe for a
// terminal, and what ends a row is not padded.
func Columns(align string, rows [][]string) string { return Fit(align, rows, 0) }

// Rows are those of a table that grows.
type Rows [][]string

// Add adds a row; columns beyond its last cell are empty.
func (r *Rows) Add(cells ...string) { *r = append(*r, cells) }

// TableFunc is [Console.Table].
type TableFunc func(align string, rows [][]string) string

// Table is Columns as it fits the terminal that stdout is. What is piped is
// never shortened or broken.
func (c *Console) Table(align string, rows [][]string) string {
	limit := 0
	if f, ok := c.Env.Stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		limit, _ = screenOf(f)()
		limit-- // some terminals break the line in the last column
	}
	return Fit(align, rows, limit)
}

// Room that the last column must have beside the others, in columns: of a
// shortened word, and of text in lines.
const (
	minShort = 12
	minProse = 30
)

// Fit is Columns on a screen of limit columns; 0 = as many as it takes. Where a
// table is wider the last cell of a row goes on below it, and where that would
// happen to most rows the first cell, mostly a long name, has a line of its own.
func Fit(align string, rows [][]string, limit int) string {
	g := &grid{align: align, widths: make([]int, len(align)), limit: limit}
	clean := make([][]string, len(rows))
	for i, row := range rows {
		for k, c := range row {
			clean[i] = append(clean[i], line(c))
			g.widths[k] = max(g.widths[k], textWidth(clean[i][k]))
		}
	}
	over := 0
	for _, row := range clean {
		if limit > 0 && !g.fits(row) {
			over++
		}
	}
	g.stacked = over > len(rows)/2
	var b strings.Builder
	for _, row := range clean {
		for _, text := range g.lines(row) {
			b.WriteString(strings.TrimRight(text, " ") + "\n")
		}
	}
	return b.String()
}

// grid is a table whose widths are known.
type grid struct {
	align   string
	widths  []int
	limit   int  // columns of the screen; 0 = no end
	stacked bool // the first cell of each row has its own line
}

// cells is a part of a row, padded.
func (g *grid) cells(row []string, from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		pad := strings.Repeat(" ", g.widths[i]-textWidth(row[i]))
		if g.align[i] == 'r' {
			b.WriteString("  " + pad + row[i])
		} else {
			b.WriteString("  " + row[i] + pad)
		}
	}
	return b.String()
}

// room is what is left for the last cell behind text.
func (g *grid) room(text string) int { return g.limit - textWidth(text) - 2 }

// fits reports whether the last cell of a row has room beside the others.
func (g *grid) fits(row []string) bool {
	last := len(g.align) - 1
	room := g.room(g.cells(row, 0, min(last, len(row))))
	whole := strings.TrimRight(g.cells(row, 0, len(row)), " ")
	return textWidth(whole) <= g.limit || room >= minProse || g.align[last] == 'd' && room >= minShort
}

// lines is a row as it is printed.
func (g *grid) lines(row []string) (out []string) {
	last := len(g.align) - 1
	if g.limit == 0 || !g.stacked && len(row) <= last {
		return []string{g.cells(row, 0, len(row))}
	}
	var text string
	if g.stacked && len(row) > 0 {
		out = append(out, "  "+row[0])
		text = "  " + g.cells(row, 1, min(last, len(row)))
	} else {
		text = g.cells(row, 0, last)
	}
	if len(row) <= last || strings.TrimSpace(row[last]) == "" {
		return append(out, text)
	}
	switch room := g.room(text); {
	case textWidth(row[last]) <= room:
		return append(out, text+g.cells(row, last, last+1))
	case g.align[last] == 'd' && room >= minShort:
		return append(out, text+"  "+shorten(row[last], room))
	case room >= minProse:
		below := wrap(row[last], room)
		out = append(out, text+"  "+below[0])
		return append(out, indented(below[1:], g.limit-room)...)
	}
	return append(append(out, text), indented(wrap(row[last], g.limit-6), 6)...)
}

func indented(lines []string, by int) []string {
	for i := range lines {
		lines[i] = strings.Repeat(" ", by) + lines[i]
	}
	return lines
}

// wrap breaks text between words into lines of at most columns. A word that is
// longer stays whole: it may be there to be copied.
func wrap(text string, columns int) (lines []string) {
	for word := range strings.FieldsSeq(text) {
		if n := len(lines) - 1; n >= 0 && textWidth(lines[n])+1+textWidth(word) <= columns {
			lines[n] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}
