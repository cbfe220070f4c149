// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/recipes"
)

// ResolveOptions says how [Resolve] and [Convert] treat a lock that is there,
// and who brings what uv cannot see.
type ResolveOptions struct {
	Current *Lock    // the lock as it is: its versions are kept if they still fit; nil = there is none
	Update  []string // packages to bring up to date although Current has them
	Upgrade bool     // bring all up to date

	// Asset gets the wheel of a URL, checks its sha256 and returns its size in
	// bytes. What cannot be had wraps bundle.ErrUnreachable, ErrNotFound or
	// ErrUnauthorized and costs the row its size; other errors end the whole.
	// nil = no sizes.
	Asset   func(context.Context, Wheel) (int64, error)
	Sources *Sources // makes wheels of git commits; nil = such requirements are refused
	Events  bundle.EventFunc
}

// Resolve asks uv for the closure of the recipe's requirements on a target and
// returns a lock without addresses, filtered for that target, with the rows of
// the recipe's extra wheels. Errors wrap [ErrNoUV], [ErrNoGit], [ErrYanked],
// [bundle.ErrUnreachable], [bundle.ErrNotFound] for a commit, or
// [bundle.ErrInvalid], and carry what uv or git said.
func Resolve(ctx context.Context, uv UV, r *recipes.Recipe, t *target.Target, o ResolveOptions) (*Lock, error) {
	l, err := resolve(ctx, uv, r, t, o)
	if err != nil {
		return nil, fmt.Errorf("recipe %s, %s: %w", r.Name, t, err)
	}
	return l, nil
}

func resolve(ctx context.Context, uv UV, r *recipes.Recipe, t *target.Target, o ResolveOptions) (*Lock, error) {
	requirements, err := requirementsOf(r)
	if err != nil {
		return nil, err
	}
	requirements, sources, err := o.takeSources(ctx, uv, r.Requirements, requirements, t)
	if err != nil {
		return nil, err
	}
	in := compileInput{requirements: requirements, target: t, fresh: true, update: o.Update}
	if !o.Upgrade {
		in.current = o.Current
	}
	found, err := uv.compile(ctx, in)
	if err != nil {
		return nil, err
	}
	for _, name := range excluded(r) {
		if _, ok := found.row(name); !ok {
			o.Events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: fmt.Sprintf("wheels.exclude (%s) matched nothing on %s", name, t.Platform())})
		}
	}
	return o.finish(ctx, r, t, found, sources)
}

// finish makes the lock of what was found: selected for the target, addresses
// forgotten, rows of git commits and of extra wheels put in.
func (o ResolveOptions) finish(ctx context.Context, r *recipes.Recipe, t *target.Target, found *Lock, sources []Package) (*Lock, error) {
	checksum, err := Checksum(r, t)
	if err != nil {
		return nil, err
	}
	assets, err := assetRows(ctx, r, t, o)
	if err != nil {
		return nil, err
	}
	skip := excluded(r)
	var extra []string
	for _, p := range assets {
		skip, extra = append(skip, p.Name), append(extra, p.Name)
	}
	for _, p := range sources {
		skip = append(skip, p.Name)
	}
	wheels, err := found.selectExcept(t, skip)
	if err != nil {
		return nil, fmt.Errorf("what was resolved: %w", err)
	}
	rows := fromWheels(wheels)
	for i := range rows {
		if rows[i].Archive == nil {
			continue
		}
		if err := errors.Join(checkScheme(wheels[i]), o.complete(ctx, &rows[i], wheels[i])); err != nil {
			return nil, err
		}
	}
	for _, p := range sources { // only those that the closure has
		if _, ok := found.row(p.Name); ok && !slices.Contains(extra, p.Name) {
			rows = append(rows, p)
		}
	}
	rows = append(rows, assets...)
	slices.SortStableFunc(rows, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(extra)
	tool := map[string]any{"platform": t.Platform().String(), "floor": t.Platform().Floor(), "inputs": checksum}
	if len(extra) > 0 {
		tool["extra"] = anys(extra)
	}
	made := &Lock{
		LockVersion: Version, CreatedBy: "metalpack", RequiresPython: "==" + t.PythonMinor() + ".*",
		Environments: []string{t.Marker()}, Packages: rows, Tool: map[string]any{"metalpack": tool},
	}
	return made, made.checkSecrets()
}

// anys is the list as the decoder would give it.
func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
