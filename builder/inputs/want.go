// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/recipes"
)

// Want is a file to get.
type Want struct {
	Name    string // package, or "cpython"
	Version string
	File    string // name under which directories may hold it
	SHA256  string // hex
	Size    int64  // 0 = unknown
	URL     string // "" = none of its own
	Direct  bool   // on no index: an interpreter, a release asset
	Target  *target.Target
}

// label names a want in messages.
func (w Want) label() string { return fmt.Sprintf("%s %s (%s)", w.Name, w.Version, w.File) }

// event is what progress says of a want.
func (w Want) event(kind bundle.EventKind) bundle.Event {
	return bundle.Event{Kind: kind, What: w.File, Digest: "sha256:" + w.SHA256, Size: w.Size}
}

// Wheels makes wants of the wheels of a target.
func Wheels(t *target.Target, wheels []lock.Wheel) []Want {
	out := make([]Want, 0, len(wheels))
	for _, w := range wheels {
		out = append(out, Want{Name: w.Name, Version: w.Version, File: w.File, SHA256: w.SHA256, Size: w.Size, URL: w.URL, Direct: w.Direct, Target: t})
	}
	return out
}

// Interpreter makes the want of an interpreter archive.
func Interpreter(in recipes.Interpreter) Want {
	return Want{Name: "cpython", Version: in.Version, File: in.File, SHA256: in.SHA256, URL: in.URL, Direct: true}
}

// unique drops repeated digests and checks what is wanted.
func unique(wants []Want) ([]Want, error) {
	seen := make(map[string]bool, len(wants))
	var out []Want
	for _, w := range wants {
		if err := checkSum(w.SHA256); err != nil {
			return nil, fmt.Errorf("%s: %w", w.label(), err)
		}
		if err := bundle.CheckPath(w.File); err != nil || strings.Contains(w.File, "/") || w.Size < 0 {
			return nil, fmt.Errorf("%s: want a file name and a size: %w", w.label(), bundle.ErrInvalid)
		}
		if !seen[w.SHA256] {
			seen[w.SHA256] = true
			out = append(out, w)
		}
	}
	return out, nil
}

// MissingError lists what could not be got and why. It wraps the reasons:
// [bundle.ErrNotFound], [bundle.ErrUnreachable], [lock.ErrNoUV] and others.
type MissingError struct {
	Missing []Want
	Reasons []error // of each
}

// Error names every missing file with its sha256, those with one reason
// together before it.
func (e *MissingError) Error() string {
	var b strings.Builder
	b.WriteString("1 file is missing:")
	if len(e.Missing) != 1 {
		b.Reset()
		fmt.Fprintf(&b, "%d files are missing:", len(e.Missing))
	}
	var order []string
	groups := make(map[string][]Want)
	for i, w := range e.Missing {
		text := e.Reasons[i].Error()
		if !slices.Contains(order, text) {
			order = append(order, text)
		}
		groups[text] = append(groups[text], w)
	}
	for _, text := range order {
		for _, w := range groups[text] {
			fmt.Fprintf(&b, "\n  %s sha256:%s", w.label(), w.SHA256)
		}
		b.WriteString("\n" + text)
	}
	return b.String()
}

// Unwrap returns the reasons.
func (e *MissingError) Unwrap() []error { return e.Reasons }
