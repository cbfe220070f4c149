// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Waiver says that a rule does not count for some files of a wheel.
type Waiver struct {
	Rule string
	Path string // which files, see [Covers]; "" = all
}

// Covers reports whether a path of a decision means the file at p. Both are
// relative to the root or, in the directory site, to that: a file, a directory
// with a trailing slash, or a pattern.
func Covers(decision, site, p string) bool {
	for _, c := range []string{p, strings.TrimPrefix(p, site+"/")} {
		if c == decision || strings.HasSuffix(decision, "/") && strings.HasPrefix(c, decision) || doublestar.MatchUnvalidated(decision, c) {
			return true
		}
	}
	return false
}

// checkWaivers refuses rules that do not exist.
func (w *Wheel) checkWaivers() error {
	for _, v := range w.waivers {
		if !slices.Contains(Rules(), v.Rule) {
			return invalid("waived rule %q is not among %s", v.Rule, strings.Join(Rules(), ", "))
		}
	}
	return nil
}

// waiver returns the index of the waiver of a rule for a file, or -1.
func (w *Wheel) waiver(rule, p string) int {
	return slices.IndexFunc(w.waivers, func(v Waiver) bool {
		return v.Rule == rule && (v.Path == "" || Covers(v.Path, w.site(), p))
	})
}

// Waived reports whether the file at p may break a rule, and notes that it
// does.
func (w *Wheel) Waived(rule, p string) bool {
	i := w.waiver(rule, p)
	if i >= 0 {
		w.used[i] = true
	}
	return i >= 0
}

// Used returns the waivers that something made use of so far.
func (w *Wheel) Used() []Waiver {
	var used []Waiver
	for i, v := range w.waivers {
		if w.used[i] {
			used = append(used, v)
		}
	}
	return used
}
