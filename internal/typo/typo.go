// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package typo owns how alike two words are, for the question whether a word
// that is not known was meant to be one that is.
package typo

import "strings"

// Nearest is the known word that word was perhaps meant to be: one that it
// begins, or the one that the fewest slips make it of, at most one in three
// letters and two in all. It is "" if there is none.
func Nearest(word string, known []string) string {
	best, slips := "", min(2, max(1, len(word)/3))+1
	for _, k := range known {
		n := Distance(word, k)
		if len(word) > 2 && strings.HasPrefix(k, word) {
			n = 1
		}
		if n < slips && n < len(k) {
			best, slips = k, n
		}
	}
	return best
}

// Distance is how many letters must be put in, taken out, replaced, or swapped
// with the next one, to make b of a.
func Distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)} // of the last letters of a
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, up, upper := rows[i%3], rows[(i+2)%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := up[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			row[j] = min(up[j]+1, row[j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], upper[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
