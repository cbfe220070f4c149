// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/metalpack/metalpack/internal/ui"

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
	return ui.Columns(t.align, t.rows)
}
