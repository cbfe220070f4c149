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
	"github.com/metalpack/metalpack/builder/wheel"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/recipes"
)

// extrasOn returns the extra wheels of a recipe that a target gets.
func extrasOn(r *recipes.Recipe, t *target.Target) []recipes.Extra {
	var out []recipes.Extra
	for _, e := range r.Wheels.Extra {
		if e.On == "" || e.On == t.Platform().OS {
			out = append(out, e)
		}
	}
	return out
}

// extraWheels reads the extra wheels of a target, in the recipe's order.
func extraWheels(r *recipes.Recipe, t *target.Target) ([]Wheel, error) {
	var out []Wheel
	for _, e := range extrasOn(r, t) {
		w, err := ownWheel(t, e.File, e.URL, e.SHA256)
		if err != nil {
			return nil, fmt.Errorf("extra wheel: %w", err)
		}
		out = append(out, w)
	}
	return out, nil
}

// ownWheel is a wheel that the recipe brings.
func ownWheel(t *target.Target, file, url, sum string) (Wheel, error) {
	parsed, err := target.ParseWheelName(file)
	if err != nil {
		return Wheel{}, err
	}
	if err := t.Accepts(file); err != nil {
		return Wheel{}, err
	}
	return Wheel{Name: parsed.Name, Version: parsed.Version, File: file, SHA256: sum, URL: url, Direct: url != "", Origin: wheel.Origin{URL: url}}, nil
}

// checkExtras compares the rows that extra wheels left in a lock with the extra
// wheels of the recipe. Those without a URL are no business of the lock.
func (l *Lock) checkExtras(listed []string, extras []recipes.Extra) error {
	known := make(map[string]bool)
	for _, e := range extras {
		parsed, err := target.ParseWheelName(e.File)
		if err != nil {
			return fmt.Errorf("extra wheel: %w", err)
		}
		known[parsed.Name] = true
		if e.URL == "" {
			continue
		}
		row, ok := l.row(parsed.Name)
		if !ok || row.Archive == nil || !slices.Contains(listed, parsed.Name) {
			return fmt.Errorf("the recipe's extra wheel %s is not in it: %w", e.File, ErrStale)
		}
		if have := row.Archive.Hashes["sha256"]; have != e.SHA256 {
			return fmt.Errorf("its row of %s is sha256:%s, the recipe's extra wheel is sha256:%s: %w", parsed.Name, have, e.SHA256, ErrStale)
		}
	}
	for _, name := range listed {
		if !known[name] {
			return fmt.Errorf("its row of %s is an extra wheel that the recipe does not have: %w", name, ErrStale)
		}
	}
	return nil
}

// assetRows makes the rows of the extra wheels that have a URL.
func assetRows(ctx context.Context, r *recipes.Recipe, t *target.Target, o ResolveOptions) ([]Package, error) {
	extras, err := extraWheels(r, t)
	if err != nil {
		return nil, err
	}
	var direct []Wheel
	for _, w := range extras {
		if w.Direct {
			direct = append(direct, w)
		}
	}
	rows := fromWheels(direct)
	for i := range rows {
		if err := o.complete(ctx, &rows[i], direct[i]); err != nil {
			return nil, fmt.Errorf("extra wheel %s: %w", direct[i].File, err)
		}
	}
	return rows, nil
}

// complete learns the size of an archive row: from the lock as it was, which
// knew the same bytes, else from the bytes themselves. What cannot be had now
// stays without a size, and a note says so.
func (o ResolveOptions) complete(ctx context.Context, row *Package, w Wheel) error {
	if o.Current != nil {
		if old, ok := o.Current.row(row.Name); ok && old.Archive != nil && old.Archive.Size > 0 && old.Archive.Hashes["sha256"] == w.SHA256 {
			row.Archive.Size = old.Archive.Size
			return nil
		}
	}
	if o.Asset == nil || row.Archive.Size > 0 {
		return nil
	}
	size, err := o.Asset(ctx, w)
	switch {
	case err == nil:
		row.Archive.Size = size
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, bundle.ErrUnreachable) || errors.Is(err, bundle.ErrNotFound) || errors.Is(err, bundle.ErrUnauthorized):
		reason := strings.ReplaceAll(err.Error(), "\n", "; ")
		o.Events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: fmt.Sprintf(
			"%s (sha256:%s) could not be fetched, so that its row has no size (%s)", w.File, w.SHA256, reason)})
		return nil
	}
	return err
}
