// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"slices"
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"
)

// TestStripPatterns: the quick look for a text never changes what a pattern
// matches.
func TestStripPatterns(t *testing.T) {
	t.Parallel()
	patterns := []string{
		"include/**", "lib/{a,b*}/**", "{x,y}/{1,2}", "**/*.dSYM/**", "lib/[ab]/c", `a\*b/c`, `{a\,b,c}/d`, "bin/{*-config,idle*}", "a{b,{c,d}}e", "**", "*", "?/x", "lib/{tcl,tk}[0-9]*",
		"{,lib/}share/**", "a/**/b", "lib/{a/**,c}",
	}
	paths := []string{
		"include", "include/x", "includes/x", "lib/a", "lib/a/x", "lib/bc/x/y", "lib/c", "x/1", "y/2", "x/3", "a.dSYM", "a.dSYM/x", "d/a.dSYM/x/y", "lib/b/c", "a*b/c", "axb/c",
		"a,b/d", "c/d", "bin/python3-config", "bin/idle3", "bin/x", "abe", "ace", "ade", "afe", "q/x", "lib/tcl8", "lib/tkx", "share/x", "lib/share/x", "a/b", "a/x/b", "a/x/y/b", "lib/a/q",
	}
	for _, p := range patterns {
		in := Input{strip: newStripPatterns(p)}
		for _, path := range paths {
			if got, want := in.stripped(path), doublestar.MatchUnvalidated(p, path); got != want {
				t.Errorf("%q on %q: %v, doublestar says %v", p, path, got, want)
			}
		}
	}
	if got := newStripPatterns("lib/{pip,pip-*.dist-info}/**"); !slices.Equal(got, []stripPattern{{"lib/pip/**", "lib/pip"}, {"lib/pip-*.dist-info/**", ".dist-info"}}) {
		t.Errorf("%q", got)
	}
	if got := newStripPatterns(strings.Repeat("{a,b}", 40)); len(got) != 1 { // 2^40 otherwise
		t.Errorf("%d patterns", len(got))
	}
}
