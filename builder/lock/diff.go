// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"slices"
	"strings"

	"github.com/metalpack/metalpack/builder/target"
)

// How a package can change between two locks.
const (
	Added   = "added"
	Removed = "removed"
	Up      = "up"
	Down    = "down"
	Rebuilt = "rebuilt" // the same version, another file
)

// Change is one package that differs between two locks.
type Change struct {
	Kind    string `json:"kind"` // Added, Removed, Up, Down, Rebuilt
	Name    string `json:"name"`
	From    string `json:"from,omitempty"`    // version
	To      string `json:"to,omitempty"`      // version
	OldSize int64  `json:"oldSize,omitempty"` // bytes of the wheel, 0 = unknown
	NewSize int64  `json:"newSize,omitempty"`
}

// Difference is what changed from one lock to another, for one target.
type Difference struct {
	Changes  []Change `json:"changes"`           // sorted by name
	Packages int      `json:"packages"`          // in the new lock
	OldSize  int64    `json:"oldSize,omitempty"` // bytes of all wheels whose size is known
	Size     int64    `json:"size"`
	Unsized  int      `json:"unsized,omitempty"` // wheels of the new lock whose size is not known
}

// Compare tells what installs differently by a new lock. Both are lists of
// selected wheels, as [Lock.Select] gives them.
func Compare(old, fresh []Wheel) Difference {
	d := Difference{Changes: []Change{}, Packages: len(fresh)}
	before := make(map[string]Wheel, len(old))
	for _, w := range old {
		before[w.Name] = w
		d.OldSize += w.Size
	}
	for _, w := range fresh {
		d.Size += w.Size
		if w.Size == 0 {
			d.Unsized++
		}
		was, ok := before[w.Name]
		delete(before, w.Name)
		if c, differs := change(was, ok, w); differs {
			d.Changes = append(d.Changes, c)
		}
	}
	for _, w := range before {
		d.Changes = append(d.Changes, Change{Kind: Removed, Name: w.Name, From: w.Version, OldSize: w.Size})
	}
	slices.SortFunc(d.Changes, func(a, b Change) int { return strings.Compare(a.Name, b.Name) })
	return d
}

// change compares two wheels of one package.
func change(was Wheel, existed bool, w Wheel) (Change, bool) {
	c := Change{Kind: Added, Name: w.Name, From: was.Version, To: w.Version, OldSize: was.Size, NewSize: w.Size}
	if !existed {
		return c, true
	}
	switch order := target.CompareVersions(was.Version, w.Version); {
	case order < 0:
		c.Kind = Up
	case order > 0:
		c.Kind = Down
	case was.SHA256 != w.SHA256:
		c.Kind = Rebuilt
	default:
		return c, false
	}
	return c, true
}
