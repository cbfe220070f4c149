// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// table aligns rows in columns.
type table struct {
	align string // of each column: 'l' or 'r'
	rows  [][]string
}

// row adds a row; cells beyond the last are empty.
func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// String renders the rows, indented by two blanks; the last column is not
// padded.
func (t *table) String() string {
	widths := make([]int, len(t.align))
	for _, row := range t.rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		var text strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if t.align[i] == 'r' {
				text.WriteString("  " + pad + c)
			} else {
				text.WriteString("  " + c + pad)
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	return b.String()
}

// plural counts things: 1 layer, 2 layers.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
