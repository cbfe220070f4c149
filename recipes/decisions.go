// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"regexp"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// Decisions lists what the recipe decided against the default on one target,
// each with its reason, for environment.json.
func (r *Recipe) Decisions(t Target) []bundle.Decision {
	out := []bundle.Decision{}
	for _, d := range r.Wheels.Exclude {
		out = append(out, bundle.Decision{Kind: "exclude", Package: d.Package, Reason: d.Reason})
	}
	for _, d := range r.Wheels.Winner {
		out = append(out, bundle.Decision{Kind: "winner", Package: d.Package, Path: d.Path, Reason: d.Reason})
	}
	for _, d := range r.Wheels.Waive {
		out = append(out, bundle.Decision{Kind: "waive", Package: d.Package, Path: d.Path, Rule: d.Rule, Reason: d.Reason})
	}
	for _, d := range r.Wheels.Substitute {
		out = append(out, bundle.Decision{Kind: "substitute", Package: d.Package, Path: d.File, Reason: d.Reason})
	}
	for _, d := range r.Wheels.Extra {
		if d.On == "" || strings.HasPrefix(t.Platform, d.On+"/") {
			out = append(out, bundle.Decision{Kind: "extra", Package: d.Package(), Path: d.File, Reason: d.Reason})
		}
	}
	in := t.Interpreter
	if in.Reason != "" {
		out = append(out, bundle.Decision{Kind: "interpreter", Path: in.File, Reason: in.Reason})
	}
	for _, d := range in.Waive {
		out = append(out, bundle.Decision{Kind: "waive", Path: d.Path, Rule: d.Rule, Reason: d.Reason})
	}
	return out
}

var separators = regexp.MustCompile(`[-_.]+`)

// Package is the package of the wheel, normalised.
func (e Extra) Package() string {
	name, _, _ := strings.Cut(e.File, "-")
	return strings.ToLower(separators.ReplaceAllString(name, "-"))
}
