// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"bytes"
	"fmt"
)

// Caps on what a lock may be made of. The decoder holds some hundred bytes for
// each bracket, and compares each key with all others of its table. A lock of 200
// packages with every wheel of theirs has 30,000 brackets; all locks together have
// some dozen different keys.
const (
	maxBrackets = 200_000 // and braces, outside of texts
	maxValues   = 500_000 // commas, equals signs and lines, outside of texts
	maxKeys     = 1_000   // different ones, headers of tables included
	maxKey      = 256     // bytes of one
)

// checkShape looks for what would cost far more to decode than to write. What it
// cannot make sense of, the decoder refuses.
func checkShape(data []byte) error {
	brackets, values, start := 0, 0, 0 // start: where a key may begin
	keys := map[string]bool{}
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch c {
		case '#':
			i = endOfLine(data, i) - 1
		case '"', '\'':
			i = endOfText(data, i)
		case '[', '{':
			brackets++
		case ',', '=', '\n':
			values++
		}
		if c == '=' || c == '\n' {
			if key := keyIn(data[start:i], c == '='); len(key) > maxKey {
				return fmt.Errorf("a key of %d bytes, more than %d", len(key), maxKey)
			} else if len(key) > 0 {
				keys[string(key)] = true
			}
		}
		if c == ',' || c == '{' || c == '=' || c == '\n' {
			start = i + 1
		}
		switch {
		case brackets > maxBrackets:
			return fmt.Errorf("more than %d brackets and braces", maxBrackets)
		case values > maxValues:
			return fmt.Errorf("more than %d values and lines", maxValues)
		case len(keys) > maxKeys:
			return fmt.Errorf("more than %d different keys", maxKeys)
		}
	}
	return nil
}

// keyIn returns the key that text is, or the header of a table.
func keyIn(text []byte, key bool) []byte {
	text = bytes.TrimSpace(text)
	if key {
		return text
	}
	if bytes.HasPrefix(text, []byte("[")) {
		header, _, _ := bytes.Cut(text, []byte("#"))
		return header
	}
	return nil
}

// endOfText returns where the text that begins at i has its last quote.
func endOfText(data []byte, i int) int {
	quote := data[i]
	mark := []byte{quote}
	if long := bytes.Repeat(mark, 3); bytes.HasPrefix(data[i:], long) {
		mark = long
	}
	for j := i + len(mark); j < len(data); j++ {
		switch {
		case quote == '"' && data[j] == '\\':
			j++
		case bytes.HasPrefix(data[j:], mark):
			return j + len(mark) - 1
		}
	}
	return len(data)
}

// endOfLine returns where the line that i is in ends.
func endOfLine(data []byte, i int) int {
	if n := bytes.IndexByte(data[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(data)
}
