// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package macho

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"

	"github.com/metalpack/metalpack/bundle"
)

// Entry is a Mach-O file of an environment.
type Entry struct {
	Owner string `json:"owner,omitempty"` // the package, or who else brought it
	Path  string `json:"path"`            // relative to the payload root
	File
}

// Summary collects the facts of many files, from several goroutines at once.
// The zero value is ready.
type Summary struct {
	mu      sync.Mutex
	entries []Entry
}

// Add notes a file, unless it is not Mach-O.
func (s *Summary) Add(e Entry) {
	if !e.IsMachO() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, e)
}

// Entries returns what was added, by owner and path.
func (s *Summary) Entries() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := slices.Clone(s.entries)
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Path, b.Path)) })
	return entries
}

// Report is what there is to say about the binaries of an environment. It does
// not depend on the order in which they were added.
type Report struct {
	Floor      Version      `json:"floor,omitempty"`
	Binaries   int          `json:"binaries"` // without the exempt
	Packages   int          `json:"packages"` // that brought them
	Exempt     []Exempt     `json:"exempt"`   // by kind
	Rows       []Row        `json:"minimumOs"`
	Highest    []Place      `json:"highest"`    // the files of the first row
	Foreign    []Foreign    `json:"foreign"`    // what must be there first
	Violations []*Violation `json:"violations"` // waived ones excepted
}

// Exempt is how many files of a kind no loader maps.
type Exempt struct {
	Kind  string `json:"kind"`
	Files int    `json:"files"`
}

// Row counts the binaries that need one version of macOS; 0 is for those that
// do not say.
type Row struct {
	MinOS    Version `json:"minOs"`
	Binaries int     `json:"binaries"`
	Packages int     `json:"packages"`
}

// Place is a file and who brought it.
type Place struct {
	Owner string `json:"owner"`
	Path  string `json:"path"`
}

// Foreign is a directory outside of the system that binaries of one owner name.
type Foreign struct {
	Owner string   `json:"owner"`
	Kind  string   `json:"kind"`  // see [Reference]
	Dir   string   `json:"dir"`   // an rpath, or where the named library lies
	Files []string `json:"files"` // that name it
}

// Report applies the rules of a target. What waived returns true for is left
// out; nil waives nothing.
func (s *Summary) Report(t Target, waived func(*Violation) bool) *Report {
	entries := s.Entries()
	r := &Report{Floor: t.Floor, Exempt: []Exempt{}, Rows: []Row{}, Highest: []Place{}, Foreign: groupForeign(entries), Violations: []*Violation{}}
	exempt := map[string]int{}
	binaries := map[Version][]Entry{}
	for _, e := range entries {
		for _, v := range t.Check(e.File) {
			v.Owner, v.Path = e.Owner, e.Path
			if waived == nil || !waived(v) {
				r.Violations = append(r.Violations, v)
			}
		}
		if !e.Loaded() {
			exempt[cmp.Or(e.Kind(), "damaged")]++
			continue
		}
		minimum := t.MinOS(e.File)
		binaries[minimum] = append(binaries[minimum], e)
	}
	for _, kind := range slices.Sorted(maps.Keys(exempt)) {
		r.Exempt = append(r.Exempt, Exempt{kind, exempt[kind]})
	}
	r.count(binaries)
	return r
}

// count makes the table.
func (r *Report) count(binaries map[Version][]Entry) {
	all := map[string]bool{}
	for _, v := range slices.Backward(slices.Sorted(maps.Keys(binaries))) {
		owners := map[string]bool{}
		for _, e := range binaries[v] {
			owners[e.Owner], all[e.Owner] = true, true
			if len(r.Rows) == 0 {
				r.Highest = append(r.Highest, Place{e.Owner, e.Path})
			}
		}
		r.Rows = append(r.Rows, Row{MinOS: v, Binaries: len(binaries[v]), Packages: len(owners)})
		r.Binaries += len(binaries[v])
	}
	r.Packages = len(all)
}

// groupForeign gathers the absolute paths of all files: those of one build
// machine make one warning. What is followed at run time comes first.
func groupForeign(entries []Entry) []Foreign {
	groups := map[[3]string][]string{}
	for _, e := range entries {
		for _, s := range e.Slices {
			for _, ref := range s.Foreign {
				dir := ref.Path
				if ref.Kind != KindRpath {
					dir = path.Dir(dir)
				}
				key := [3]string{ref.Kind, e.Owner, dir}
				if files := groups[key]; len(files) == 0 || files[len(files)-1] != e.Path { // entries are sorted
					groups[key] = append(files, e.Path)
				}
			}
		}
	}
	found := make([]Foreign, 0, len(groups))
	for key, files := range groups {
		found = append(found, Foreign{Kind: key[0], Owner: key[1], Dir: key[2], Files: files})
	}
	slices.SortFunc(found, func(a, b Foreign) int {
		return cmp.Or(cmp.Compare(severity(a.Kind), severity(b.Kind)), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Dir, b.Dir))
	})
	return found
}

// severity orders kinds of reference: a library that must be there, a place to
// look for some, a name that only a linker reads.
func severity(kind string) int {
	switch kind {
	case KindID:
		return 2
	case KindRpath:
		return 1
	}
	return 0
}

// Err joins the violations, is nil without any, and counts what is too much to
// name. It wraps [bundle.ErrInvalid].
func (r *Report) Err() error {
	errs := make([]error, 0, maxNamed+1)
	for _, v := range r.Violations[:min(len(r.Violations), maxNamed)] {
		errs = append(errs, v)
	}
	if n := len(r.Violations) - maxNamed; n > 0 {
		errs = append(errs, fmt.Errorf("%d more violations of such rules: %w", n, bundle.ErrInvalid))
	}
	return errors.Join(errs...)
}
