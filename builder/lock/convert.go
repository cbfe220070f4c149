// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/recipes"
)

// Convert makes the lock of a recipe's target of a requirements file with
// hashes, named file in messages. Such a file has no file names, so uv is asked
// once for the files of these versions, and the hashes decide. Nothing is
// resolved: what the file does not name is not in the lock. Errors wrap
// [ErrYanked], [bundle.ErrUnreachable], [bundle.ErrNotFound] when the index has
// no file of these hashes for the target, or [bundle.ErrInvalid] with the line.
func Convert(ctx context.Context, uv UV, r *recipes.Recipe, t *target.Target, file string, data []byte, o ResolveOptions) (*Lock, error) {
	pins, err := parseHashed(file, data)
	if err != nil {
		return nil, err
	}
	if pins, err = applicable(file, pins, t); err != nil {
		return nil, err
	}
	// What the recipe leaves out or brings itself may be on no index.
	skip := excluded(r)
	extras, err := extraWheels(r, t)
	if err != nil {
		return nil, err
	}
	for _, w := range extras {
		skip = append(skip, w.Name)
	}
	pins = slices.DeleteFunc(pins, func(p hashedPin) bool { return slices.Contains(skip, p.name) })
	found, err := uv.named(ctx, file, pins, t)
	if err != nil {
		return nil, fmt.Errorf("recipe %s, %s: %w", r.Name, t, err)
	}
	l, err := o.finish(ctx, r, t, found, nil)
	if err != nil {
		return nil, fmt.Errorf("recipe %s, %s: %w", r.Name, t, err)
	}
	return l, nil
}

// applicable keeps the pins whose markers are true, each package once. A file of
// none for the target is one for another, and no lock of nothing.
func applicable(file string, pins []hashedPin, t *target.Target) ([]hashedPin, error) {
	var out []hashedPin
	lines := make(map[string]int)
	for _, p := range pins {
		ok, err := t.Eval(p.marker, target.Sets{})
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", file, p.line, p.name, err)
		}
		if !ok {
			continue
		}
		if first, twice := lines[p.name]; twice {
			return nil, fmt.Errorf("%s:%d: %s stands already in line %d: %w", file, p.line, p.name, first, bundle.ErrInvalid)
		}
		lines[p.name] = p.line
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: names no package for %s: %w", file, t, bundle.ErrInvalid)
	}
	return out, nil
}

// named asks uv for the files of pins and keeps those whose hash they have.
func (u UV) named(ctx context.Context, file string, pins []hashedPin, t *target.Target) (*Lock, error) {
	var ask strings.Builder
	found := new(Lock)
	for _, p := range pins {
		if p.url != "" {
			found.Packages = append(found.Packages, Package{
				Name: p.name, Version: p.version, Archive: &File{URL: p.url, Hashes: map[string]string{"sha256": p.sums[0]}},
			})
			continue
		}
		fmt.Fprintf(&ask, "%s==%s\n", p.name, p.version)
	}
	if ask.Len() == 0 {
		return found, nil
	}
	indexed, err := u.compile(ctx, compileInput{requirements: ask.String(), target: t, noDeps: true, fresh: true})
	if err != nil {
		return nil, err
	}
	for _, p := range pins {
		if p.url != "" {
			continue
		}
		row, ok := indexed.row(p.name)
		if !ok {
			return nil, fmt.Errorf("%s:%d: %s %s: uv does not name it: %w", file, p.line, p.name, p.version, bundle.ErrInvalid)
		}
		row.Marker = "" // it was the line's own
		row.Wheels = slices.DeleteFunc(row.Wheels, func(f File) bool { return !slices.Contains(p.sums, f.Hashes["sha256"]) })
		if len(row.Wheels) == 0 {
			return nil, fmt.Errorf("%s:%d: %s %s: the index has no wheel for %s of the %d hashes: %w", file, p.line, p.name, p.version, t, len(p.sums), bundle.ErrNotFound)
		}
		found.Packages = append(found.Packages, *row)
	}
	return found, nil
}
