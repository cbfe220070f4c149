// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"cmp"
	"io"
	"slices"

	"github.com/metalpack/metalpack/builder/macho"
	"github.com/metalpack/metalpack/builder/wheel"
	"github.com/metalpack/metalpack/bundle"
)

// Rules lists the rules of package wheel and of package macho, which a recipe
// can waive for a package, sorted.
func Rules() []string {
	return slices.Sorted(slices.Values(slices.Concat(wheel.Rules(), macho.Rules())))
}

// watched is the opener of a file whose facts sum gets when it has been read,
// and whose stream j may take, unless it is nil.
func watched(f plannedFile, sum *macho.Summary, j *joiner) func() (io.ReadCloser, error) {
	if f.open == nil {
		return nil // a symlink
	}
	return func() (io.ReadCloser, error) {
		rc, err := f.open()
		if err != nil {
			return nil, err
		}
		content := macho.Watch(rc, func(got macho.File) { sum.Add(macho.Entry{Path: f.Path, File: got}) })
		if j != nil {
			content = j.join(rc, content)
		}
		return content, nil
	}
}

// lint reports on the Mach-O files of all layers, whether they were read now or
// by an earlier build. The cache does not know who owns them: the plan does.
func (p *Plan) lint(layers []*builtLayer) (*macho.Report, error) {
	target, err := macho.NewTarget(p.in.Platform)
	if err != nil {
		return nil, err
	}
	owners := map[string]string{}
	for _, l := range p.Layers {
		for _, f := range l.files {
			owners[f.Path] = cmp.Or(f.pkg, f.owner)
		}
	}
	sum := new(macho.Summary)
	for _, l := range layers {
		for _, e := range l.binaries {
			e.Owner = owners[e.Path]
			sum.Add(e)
		}
	}
	report := sum.Report(target, p.in.waived)
	p.in.noteUnused(func(d bundle.Decision) bool { return isBinaryRule(d.Rule) })
	return report, report.Err()
}

// waived reports whether the recipe lets a binary break a rule, and notes that
// it did.
func (in *Input) waived(v *macho.Violation) bool {
	for _, d := range in.decided(DecisionWaive, "") {
		owner := ownerInterpreter
		if d.Package != "" {
			owner = wheel.Normalize(d.Package)
		}
		if owner == v.Owner && d.Rule == v.Rule && (d.Path == "" || wheel.Covers(d.Path, in.site(), v.Path)) {
			in.used[d] = true
			return true
		}
	}
	return false
}

func isBinaryRule(rule string) bool { return slices.Contains(macho.Rules(), rule) }
