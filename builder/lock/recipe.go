// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/recipes"
)

// ForTarget makes the build target of a recipe's target.
func ForTarget(t recipes.Target) (*target.Target, error) {
	return target.New(t.Bundle(), t.Interpreter.Version)
}

// Read reads and decodes the lock of a recipe's target. Errors wrap
// [bundle.ErrNotFound] or [bundle.ErrInvalid].
func Read(r *recipes.Recipe, rt recipes.Target) (*Lock, []byte, error) {
	data, err := r.ReadFile(rt.Lock)
	if err != nil {
		return nil, nil, err
	}
	l, err := Parse(rt.Lock, data)
	return l, data, err
}

// Checksum is the checksum of what the resolver is asked: requirements,
// platform with floor, Python minor version and excluded packages.
func Checksum(r *recipes.Recipe, t *target.Target) (string, error) {
	requirements, err := requirementsOf(r)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "metalpack lock inputs 1\nplatform %s\nfloor %s\npython %s\n", t.Platform(), t.Platform().Floor(), t.PythonMinor())
	for _, name := range excluded(r) {
		fmt.Fprintf(&b, "exclude %s\n", name)
	}
	fmt.Fprintf(&b, "requirements %d\n%s", len(requirements), requirements)
	sum := sha256.Sum256([]byte(b.String()))
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// requirementsOf reads the requirements with Unix line ends, so that a
// checkout's line ends do not make a lock stale. Option lines would bring in
// inputs that no checksum covers.
func requirementsOf(r *recipes.Recipe) (string, error) {
	data, err := r.ReadFile(r.Requirements)
	if err != nil {
		return "", err
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.ContainsAny(line, "\r\ufeff"): // uv sees another line behind it
			return "", fmt.Errorf("%s:%d: a carriage return without a line feed, or a byte order mark: %w", r.Requirements, i+1, bundle.ErrInvalid)
		case strings.HasPrefix(strings.TrimSpace(line), "-"):
			return "", fmt.Errorf("%s:%d: option lines are not accepted; indexes are configured in uv: %w", r.Requirements, i+1, bundle.ErrInvalid)
		}
	}
	return text, nil
}

// excluded lists the packages the recipe leaves out, sorted.
func excluded(r *recipes.Recipe) []string {
	names := make([]string, 0, len(r.Wheels.Exclude))
	for _, e := range r.Wheels.Exclude {
		names = append(names, e.Package)
	}
	slices.Sort(names)
	return names
}

// Check reports whether the lock belongs to the recipe as it is now: what the
// resolver was asked, and the rows of extra wheels. The error wraps [ErrStale].
// A lock without [tool.metalpack], made by hand or by another tool, passes.
func Check(l *Lock, r *recipes.Recipe, t *target.Target) error {
	in, ok := l.Inputs()
	if !ok {
		return nil
	}
	want, err := Checksum(r, t)
	if err != nil {
		return err
	}
	if in.Checksum != want {
		return fmt.Errorf("requirements, target, Python version or excludes of recipe %s changed since it was made: %w", r.Name, ErrStale)
	}
	return l.checkExtras(in.Extra, extrasOn(r, t))
}

// ForRecipe reads the lock of a recipe's target, checks that it is not stale,
// and returns it, its bytes, and the wheels to install: selected, without the
// excluded, with substitutes and extras. Errors are those of [Read], [Check]
// and [Lock.Select].
func ForRecipe(r *recipes.Recipe, rt recipes.Target) (*Lock, []byte, []Wheel, error) {
	t, err := ForTarget(rt)
	if err != nil {
		return nil, nil, nil, err
	}
	l, data, err := Read(r, rt)
	if err != nil {
		return nil, nil, nil, err
	}
	wheels, err := l.wheelsOf(r, t)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", rt.Lock, err)
	}
	return l, data, wheels, nil
}

func (l *Lock) wheelsOf(r *recipes.Recipe, t *target.Target) ([]Wheel, error) {
	if err := errors.Join(Check(l, r, t), l.checkSecrets()); err != nil {
		return nil, err
	}
	extras, err := extraWheels(r, t)
	if err != nil {
		return nil, err
	}
	skip := excluded(r)
	for _, s := range r.Wheels.Substitute {
		skip = append(skip, s.Package)
	}
	for _, w := range extras { // the recipe is the authority
		skip = append(skip, w.Name)
	}
	wheels, err := l.selectExcept(t, skip)
	if err != nil {
		return nil, err
	}
	for _, w := range wheels {
		if err := checkScheme(w); err != nil {
			return nil, err
		}
	}
	for _, w := range extras {
		if row, ok := l.row(w.Name); ok && row.Archive != nil && row.Archive.Hashes["sha256"] == w.SHA256 {
			w.Size = row.Archive.Size
		}
		wheels = append(wheels, w)
	}
	for _, s := range r.Wheels.Substitute {
		w, err := ownWheel(t, s.File, s.URL, s.SHA256)
		if err != nil {
			return nil, fmt.Errorf("substitute %s: %w", s.Package, err)
		}
		if w.Name != s.Package {
			return nil, fmt.Errorf("substitute %s: %s belongs to another package: %w", s.Package, s.File, bundle.ErrInvalid)
		}
		// The wheel whose place it takes: an extra one, or a row that was not selected.
		others := slices.DeleteFunc(wheels, func(w Wheel) bool { return w.Name == s.Package })
		if len(others) == len(wheels) && !slices.ContainsFunc(l.Packages, func(p Package) bool { return p.Name == s.Package }) {
			return nil, fmt.Errorf("substitute %s: neither the lock nor the recipe has such a package: %w", s.Package, bundle.ErrInvalid)
		}
		others = append(others, w)
		wheels = others
	}
	slices.SortFunc(wheels, func(a, b Wheel) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(wheels); i++ {
		if wheels[i].Name == wheels[i-1].Name {
			return nil, fmt.Errorf("%s is there twice: %s and %s: %w", wheels[i].Name, wheels[i-1].File, wheels[i].File, bundle.ErrInvalid)
		}
	}
	return wheels, nil
}

// checkSecrets refuses addresses with credentials in any row: an environment holds
// the whole lock, and everybody who can pull it reads that.
func (l *Lock) checkSecrets() error {
	for i := range l.Packages {
		p := &l.Packages[i]
		addresses := []string{p.Index, text(p.VCS["url"]), text(p.Sdist["url"])}
		if p.Archive != nil {
			addresses = append(addresses, p.Archive.URL)
		}
		for _, f := range p.Wheels {
			addresses = append(addresses, f.URL)
		}
		for _, a := range addresses {
			u, err := url.Parse(a)
			if err != nil || u.User == nil || u.Scheme == "ssh" && u.User.String() == "git" { // which is a convention, not a login
				continue
			}
			return fmt.Errorf("%s: an address with credentials, which every environment made of the lock would show: %w", p.Name, bundle.ErrInvalid)
		}
	}
	return nil
}

// checkScheme refuses addresses that anybody on the way may answer for; on this
// host nobody is on the way.
func checkScheme(w Wheel) error {
	if w.URL == "" {
		return nil
	}
	u, err := url.Parse(w.URL)
	if err != nil {
		return fmt.Errorf("%s %s: the address does not parse: %w", w.Name, w.Version, bundle.ErrInvalid)
	}
	local := u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return fmt.Errorf("%s %s: %s: is no address for a lock, only https: %w", w.Name, w.Version, u.Scheme, bundle.ErrInvalid)
	}
	return nil
}
