// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/builder/wheel"
	"github.com/metalpack/metalpack/bundle"
)

// openWheel is a wheel of the input, opened.
type openWheel struct {
	*wheel.Wheel
	in    Wheel
	layer string
	files []wheel.File // what it installs, if no other wheel wins a path
}

// openWheels opens and checks all wheels that are not excluded, in the order of
// their normalised names.
func (p *Plan) openWheels(ctx context.Context) ([]openWheel, error) {
	var all []openWheel
	for _, w := range p.in.Wheels {
		name := wheel.Normalize(w.Name)
		if len(p.in.decided(DecisionExclude, name)) == 0 {
			all = append(all, openWheel{in: w, layer: layerOf(name, w.Size)})
		}
	}
	slices.SortStableFunc(all, func(a, b openWheel) int {
		return strings.Compare(wheel.Normalize(a.in.Name), wheel.Normalize(b.in.Name))
	})
	p.wheels = make([]*os.File, 0, len(all))
	for i := range all {
		if i > 0 && wheel.Normalize(all[i-1].in.Name) == wheel.Normalize(all[i].in.Name) {
			return nil, fmt.Errorf("%s and %s are wheels of one package: %w", all[i-1].in.File, all[i].in.File, bundle.ErrInvalid)
		}
		f, err := os.Open(all[i].in.Path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", all[i].in.File, err)
		}
		p.wheels = append(p.wheels, f)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(p.in.Parallel)
	for i := range all {
		g.Go(func() error { return all[i].open(ctx, p.wheels[i], &p.in) })
	}
	return all, g.Wait()
}

// open reads the directory of a wheel. Its sha256 the caller has checked; the
// size is looked at, and every byte that is used is held against RECORD.
func (w *openWheel) open(ctx context.Context, f *os.File, in *Input) error {
	if err := alive(ctx); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%s: %w", w.in.File, err)
	}
	size := info.Size()
	if w.in.Size > 0 && w.in.Size != size {
		return fmt.Errorf("package %s: %s: %d bytes, want %d: %w", w.in.Name, w.in.File, size, w.in.Size, bundle.ErrMismatch)
	}
	var waived []wheel.Waiver
	for _, d := range in.decided(DecisionWaive, wheel.Normalize(w.in.Name)) {
		if isBinaryRule(d.Rule) {
			continue
		}
		waived = append(waived, wheel.Waiver{Rule: d.Rule, Path: d.Path})
	}
	w.Wheel, err = wheel.Open(f, size, w.in.File, wheel.Options{Python: in.PythonVersion, Waive: waived, Origin: w.in.Origin, SHA256: w.in.SHA256, Budget: in.budget})
	if err != nil {
		return err
	}
	if w.Name != wheel.Normalize(w.in.Name) {
		return fmt.Errorf("package %s: %s is a wheel of %s: %w", w.in.Name, w.in.File, w.Name, bundle.ErrInvalid)
	}
	w.layer = layerOf(w.Name, size)
	w.files, err = w.Files(w.drop(in, nil))
	return err
}

// layerOf names the layer of a wheel.
func layerOf(name string, size int64) string {
	if size >= LargeWheel {
		return "wheel/" + name
	}
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("bucket/%02d", sum[0]%Buckets)
}

// merge puts the wheels' files beside those of the interpreter. Of one path in
// two wheels, equal bytes belong to the first name; other bytes need a winner,
// and the loser's RECORD loses the row.
func merge(in *Input, files []plannedFile, wheels []openWheel) ([]plannedFile, error) {
	total := len(files)
	for i := range wheels {
		total += len(wheels[i].files)
	}
	all := make([]plannedFile, 0, total) // never grown: owners points into it
	owners := make(map[string]*plannedFile, total)
	own := func(f plannedFile) {
		all = append(all, f)
		owners[f.Path] = &all[len(all)-1]
	}
	for _, f := range files {
		own(f)
	}
	stdlib := standardModules(in, files)
	names := map[string]string{}
	for _, w := range wheels {
		names[w.File] = w.Name
		for i := range w.files {
			f := &w.files[i]
			if name := topModule(in.site(), f.Path); stdlib[name] && !w.Waived(wheel.RuleStdlib, f.Path) {
				return nil, fmt.Errorf("%s: %q has the name of a module of the standard library (rule %s, which a recipe can waive): %w", w.File, f.Path, wheel.RuleStdlib, bundle.ErrInvalid)
			}
			old := owners[f.Path]
			if old == nil {
				own(w.entry(f))
				continue
			}
			if old.owner != ownerInterpreter && old.SHA256 == f.SHA256 && !old.IsLink() {
				continue
			}
			switch winner(in, f.Path, names[old.owner], w.Name) {
			case w.Name:
				*old = w.entry(f)
			case names[old.owner]: // it stays
			default:
				return nil, fmt.Errorf("%s and %s both have %q, with different bytes: name a winner or exclude a package in the recipe: %w", old.owner, w.File, f.Path, bundle.ErrInvalid)
			}
		}
	}
	for _, w := range wheels {
		w.noteWaivers(in)
		if w.Newer {
			in.Events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: w.File + ": a newer version of the wheel format, read as 1.0"})
		}
	}
	in.noteUnused(func(d bundle.Decision) bool { return !isBinaryRule(d.Rule) }) // those are known once the bytes were read
	if err := rewriteRecords(in, wheels, owners); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b plannedFile) int { return strings.Compare(a.Path, b.Path) })
	return all, checkCollisions(all)
}

// rewriteRecords takes out of each RECORD the paths at which another wheel's
// bytes lie.
func rewriteRecords(in *Input, wheels []openWheel, owners map[string]*plannedFile) error {
	for _, w := range wheels {
		lost := map[string]bool{}
		for _, f := range w.files {
			if owners[f.Path].SHA256 != f.SHA256 {
				lost[f.Path] = true
			}
		}
		if len(lost) == 0 {
			continue
		}
		installed, err := w.Files(w.drop(in, lost))
		if err != nil {
			return err
		}
		for i := range installed {
			if f := installed[i]; f.Path == path.Join(w.MetadataDir(), "RECORD") {
				*owners[f.Path] = w.entry(&f)
			}
		}
	}
	return nil
}

// drop returns what is not installed of a wheel. Its metadata always is: the
// entry points and versions in it are read at run time.
func (w openWheel) drop(in *Input, lost map[string]bool) func(string) bool {
	meta := w.MetadataDir() + "/"
	return func(p string) bool {
		return lost[p] || !strings.HasPrefix(p, meta) && in.stripped(p)
	}
}

func (w openWheel) entry(f *wheel.File) plannedFile {
	return plannedFile{
		TreeEntry: bundle.TreeEntry{Path: f.Path, Mode: f.Mode, Size: f.Size, SHA256: f.SHA256, Layer: w.layer},
		owner:     w.File,
		pkg:       w.Name,
		open:      func() (io.ReadCloser, error) { return f.Open() }, // f.Open would be a copy of f
	}
}

// noteWaivers marks the waivers that the wheel made use of.
func (w openWheel) noteWaivers(in *Input) {
	used := w.Used()
	for _, d := range in.decided(DecisionWaive, w.Name) {
		if slices.Contains(used, wheel.Waiver{Rule: d.Rule, Path: d.Path}) {
			in.used[d] = true
		}
	}
}

// standardModules returns the top-level names of the standard library.
func standardModules(in *Input, files []plannedFile) map[string]bool {
	names := map[string]bool{}
	for _, f := range files {
		if name := topModule("lib/python"+in.PythonVersion, f.Path); f.owner == ownerInterpreter && name != "site-packages" {
			names[name] = true
		}
	}
	delete(names, "")
	return names
}

// topModule returns the name under which Python would import what lies at p in
// the directory dir, or "".
func topModule(dir, p string) string {
	rest, ok := strings.CutPrefix(p, dir+"/")
	if !ok {
		return ""
	}
	top, _, inPackage := strings.Cut(rest, "/")
	if inPackage {
		return top
	}
	switch path.Ext(top) {
	case ".py", ".so":
		name, _, _ := strings.Cut(top, ".")
		return name
	}
	return ""
}

// winner returns which of two packages the recipe lets have a path, or "".
func winner(in *Input, p, a, b string) string {
	for _, d := range in.decided(DecisionWinner, "") {
		name := wheel.Normalize(d.Package)
		if (name == a || name == b) && wheel.Covers(d.Path, in.site(), p) {
			in.used[d] = true
			return name
		}
	}
	return ""
}

// checkCollisions finds two paths that are one file on some system and names
// who brought them.
func checkCollisions(files []plannedFile) error {
	var seen bundle.Collisions
	seen.Grow(len(files))
	for i, f := range files {
		if old, p, clash := seen.Add(f.Path, i); clash {
			return fmt.Errorf("%s has %q, %s has %q: one file on a case-insensitive disk, or a file and a directory: %w", files[old.By].owner, old.Path, f.owner, p, bundle.ErrInvalid)
		}
	}
	return nil
}
