// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/builder/wheel"
	"github.com/metalpack/metalpack/bundle"
)

// Wheel is one wheel file that a target needs.
type Wheel struct {
	Name    string // normalised
	Version string
	File    string       // wheel file name
	Size    int64        // 0 = unknown
	SHA256  string       // hex
	URL     string       // "" = ask the index
	Direct  bool         // on no index: from a URL of its own, or made of a source (no URL)
	Origin  wheel.Origin // of a wheel from a URL of its own, or made of a commit
}

// Select evaluates the lock for a target: markers, then one wheel per package
// by its file name. The wheels are sorted by name. Errors wrap
// [bundle.ErrInvalid], [bundle.ErrUnsupportedHost] when the lock is for other
// platforms, or [target.ErrNoWheel], which lists the tags there are.
func (l *Lock) Select(t *target.Target) ([]Wheel, error) {
	return l.selectExcept(t, nil)
}

// selectExcept selects without looking at the sources of excluded packages.
func (l *Lock) selectExcept(t *target.Target, exclude []string) ([]Wheel, error) {
	if err := l.admits(t); err != nil {
		return nil, err
	}
	sets := target.Sets{DependencyGroups: l.DefaultGroups}
	var out []Wheel
	seen := make(map[string]bool)
	for i := range l.Packages {
		p := &l.Packages[i]
		ok, err := t.Eval(p.Marker, sets)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		if !ok || slices.Contains(exclude, p.Name) {
			continue
		}
		if seen[p.Name] {
			return nil, fmt.Errorf("%s: two rows apply to %s; one version from one index is wanted: %w", p.Name, t, bundle.ErrInvalid)
		}
		seen[p.Name] = true
		w, err := p.choose(t)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.TrimSpace(p.Name+" "+p.Version), err)
		}
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b Wheel) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// admits checks what the lock says about where it applies.
func (l *Lock) admits(t *target.Target) error {
	ok, err := t.AdmitsPython(l.RequiresPython)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("requires-python %q does not admit CPython %s: %w", l.RequiresPython, t.Python(), bundle.ErrInvalid)
	}
	for _, marker := range l.Environments {
		ok, err := t.Eval(marker, target.Sets{})
		if err != nil {
			return fmt.Errorf("environments: %w", err)
		}
		if ok {
			return nil
		}
	}
	if len(l.Environments) > 0 {
		return fmt.Errorf("the lock is for %q, not for %s: %w", l.Environments, t, bundle.ErrUnsupportedHost)
	}
	return nil
}

// choose picks the file of a row.
func (p *Package) choose(t *target.Target) (Wheel, error) {
	if ok, err := t.AdmitsPython(p.RequiresPython); err != nil || !ok {
		return Wheel{}, errors.Join(fmt.Errorf("requires-python %q does not admit CPython %s: %w", p.RequiresPython, t.Python(), bundle.ErrInvalid), err)
	}
	if w, ok, err := p.made(t); ok || err != nil {
		return w, err
	}
	switch {
	case p.VCS != nil:
		return Wheel{}, fmt.Errorf("a vcs row has no content hash; build a wheel and name it under wheels.substitute: %w", bundle.ErrInvalid)
	case p.Directory != nil:
		return Wheel{}, fmt.Errorf("a directory row names no bytes; build a wheel and name it under wheels.substitute: %w", bundle.ErrInvalid)
	case p.Archive != nil:
		return p.archive(t)
	case len(p.Wheels) == 0:
		return Wheel{}, fmt.Errorf("there is an sdist but no wheel, and nothing is compiled here; name a wheel under wheels.substitute: %w", bundle.ErrInvalid)
	}
	names := make([]string, len(p.Wheels))
	for i, f := range p.Wheels {
		name, err := f.fileName(false)
		if err != nil {
			return Wheel{}, err
		}
		names[i] = name
	}
	i, err := t.Best(names)
	if err != nil {
		return Wheel{}, err
	}
	return p.wheel(names[i], p.Wheels[i])
}

// made takes the wheel that a row's source was made into, if it was.
func (p *Package) made(t *target.Target) (Wheel, bool, error) {
	made, ok := p.wheelMade()
	if !ok || p.Archive != nil || len(p.Wheels) > 0 {
		return Wheel{}, false, nil
	}
	if err := bundle.CheckPath(made.file); err != nil || strings.Contains(made.file, "/") || made.size < 0 {
		return Wheel{}, false, fmt.Errorf("tool.metalpack: want file, size and sha256 of a wheel: %w", bundle.ErrInvalid)
	}
	if err := t.Accepts(made.file); err != nil {
		return Wheel{}, false, err
	}
	w, err := p.wheel(made.file, File{Size: made.size, Hashes: map[string]string{"sha256": made.sha256}})
	w.Direct, w.Origin = true, p.origin()
	return w, true, err
}

// origin says of which commit the wheel of a row was made. A directory has no
// address that means anything elsewhere; nor has a repository given by its path.
func (p *Package) origin() wheel.Origin {
	address := text(p.VCS["url"])
	if address == "" {
		return wheel.Origin{}
	}
	return wheel.Origin{
		URL: address, VCS: text(p.VCS["type"]), Commit: text(p.VCS["commit-id"]),
		Revision: text(p.VCS["requested-revision"]), Subdirectory: text(p.VCS["subdirectory"]),
	}
}

// archive takes an archive row whose file is a wheel.
func (p *Package) archive(t *target.Target) (Wheel, error) {
	name, err := p.Archive.fileName(true)
	if err != nil {
		return Wheel{}, err
	}
	if !strings.HasSuffix(name, ".whl") {
		return Wheel{}, fmt.Errorf("the archive %s is no wheel, and nothing is compiled here: %w", name, bundle.ErrInvalid)
	}
	if err := t.Accepts(name); err != nil {
		return Wheel{}, err
	}
	w, err := p.wheel(name, *p.Archive)
	w.Direct, w.Origin = true, wheel.Origin{URL: w.URL}
	return w, err
}

// wheel checks that the file is what the row says.
func (p *Package) wheel(name string, f File) (Wheel, error) {
	parsed, err := target.ParseWheelName(name)
	if err != nil {
		return Wheel{}, err
	}
	version := p.Version
	if version == "" {
		version = parsed.Version
	}
	if parsed.Name != p.Name || !sameButLocal(parsed.Version, version) {
		return Wheel{}, fmt.Errorf("the file %s belongs to another package or version: %w", name, bundle.ErrInvalid)
	}
	sum, err := f.sha256()
	if err != nil {
		return Wheel{}, fmt.Errorf("%s: %w", name, err)
	}
	return Wheel{Name: p.Name, Version: version, File: name, Size: f.Size, SHA256: sum, URL: f.URL}, nil
}

// sameButLocal compares versions; a local part may be missing in one.
func sameButLocal(a, b string) bool {
	if target.SameVersion(a, b) {
		return true
	}
	pa, la, _ := strings.Cut(a, "+")
	pb, lb, _ := strings.Cut(b, "+")
	return (la == "" || lb == "") && target.SameVersion(pa, pb)
}

// fileName is the row's name, else the last part of an address. For wheels the
// url is preferred only where no path stands; so it is for archives.
func (f File) fileName(archive bool) (string, error) {
	name := f.Name
	if name == "" || archive {
		name = path.Base(strings.ReplaceAll(f.Path, `\`, "/"))
		if f.Path == "" {
			u, err := url.Parse(f.URL)
			if err != nil {
				return "", fmt.Errorf("url does not parse: %w", bundle.ErrInvalid)
			}
			name = path.Base(u.Path)
		}
	}
	if err := bundle.CheckPath(name); err != nil || strings.Contains(name, "/") {
		return "", fmt.Errorf("file name %q: %w", name, bundle.ErrInvalid)
	}
	return name, nil
}

// sha256 returns the one hash that counts here.
func (f File) sha256() (string, error) {
	sum, ok := f.Hashes["sha256"]
	if !ok {
		return "", fmt.Errorf("no sha256 among its hashes: %w", bundle.ErrInvalid)
	}
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 || strings.ToLower(sum) != sum {
		return "", fmt.Errorf("sha256 %q: want 64 lower-case hex digits: %w", sum, bundle.ErrInvalid)
	}
	return sum, nil
}
