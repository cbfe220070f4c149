// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// stripPattern is a pattern of what is left out, and a text that all paths it
// matches contain: looking for that is many times cheaper than matching, and
// each of a hundred thousand paths is held against each pattern.
type stripPattern struct{ pattern, literal string }

// maxBraces is how many of a pattern's braces are made alternatives of their own:
// those of several multiply.
const maxBraces = 2

// newStripPatterns makes a pattern ready: one for each of its alternatives in
// braces, since "{a,b}/c" is "a/c" or "b/c" and those are longer texts.
func newStripPatterns(pattern string) (all []stripPattern) {
	before, rest, ok := strings.Cut(pattern, "{")
	inner, after, closed := strings.Cut(rest, "}")
	if !ok || !closed || strings.Count(pattern, "{") > maxBraces || strings.ContainsAny(before+inner, `\[]{`) {
		return []stripPattern{{pattern, literal(pattern)}}
	}
	for one := range strings.SplitSeq(inner, ",") {
		all = append(all, newStripPatterns(before+one+after)...)
	}
	return all
}

// literal returns the longest run of pattern that stands outside of brackets
// and braces and has no special meaning. Slashes at its ends are not part of
// it, because "a/**" matches "a" too.
func literal(pattern string) string {
	longest, start, depth := "", 0, 0
	end := func(at int) {
		if run := strings.Trim(pattern[start:at], "/"); depth == 0 && len(run) > len(longest) {
			longest = run
		}
	}
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		if !strings.ContainsRune(`*?[]{}\`, rune(c)) {
			continue
		}
		if start <= i {
			end(i)
		}
		start = i + 1
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case '\\': // what it makes plain is left out too
			i++
			start++
		}
	}
	if start < len(pattern) {
		end(len(pattern))
	}
	return longest
}

// stripped reports whether a path is left out by a pattern.
func (in *Input) stripped(p string) bool {
	for _, s := range in.strip {
		if strings.Contains(p, s.literal) && doublestar.MatchUnvalidated(s.pattern, p) {
			return true
		}
	}
	return false
}
