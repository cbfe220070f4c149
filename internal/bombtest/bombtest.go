// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package bombtest writes what is short to say and costly to read, for tests of
// caps.
package bombtest

import (
	"fmt"
	"strings"
)

// Rows is n times format, each with its number, from 0 on, as the one argument.
func Rows(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
