// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import "strings"

// mdTable is a table for Markdown whose first row is the head; align is that of
// [ui.Columns].
func mdTable(align string, rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		for _, c := range row {
			b.WriteString("| " + md(c) + " ")
		}
		b.WriteString("|\n")
		if i == 0 {
			b.WriteString(strings.NewReplacer("l", "|---", "r", "|--:").Replace(align) + "|\n")
		}
	}
	return b.String()
}

var mdEscape = strings.NewReplacer("|", `\|`, "<", "&lt;", "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "\n", " ", "@", "&#64;", "#", `\#`)

// md keeps text from outside from being read as Markdown or HTML.
func md(s string) string { return mdEscape.Replace(s) }
