// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import "strings"

// Columns aligns rows of cells, indented by two blanks; align has an 'l' or an
// 'r' for each column. A cell is made one line that is safe for a terminal, and
// what ends a row is not padded.
func Columns(align string, rows [][]string) string {
	widths := make([]int, len(align))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], textWidth(line(c)))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var text strings.Builder
		for i, c := range row {
			c = line(c)
			pad := strings.Repeat(" ", widths[i]-textWidth(c))
			if align[i] == 'r' {
				text.WriteString("  " + pad + c)
			} else {
				text.WriteString("  " + c + pad)
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	return b.String()
}
