// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/tarball"
)

const (
	layerInterpreter = "interpreter"
	ownerInterpreter = "the interpreter"
)

// Plan is an environment for one platform, known to the last byte and not yet
// built. It is what a dry run shows.
type Plan struct {
	Environment *bundle.Environment // metalpack/environment.json
	Tree        *bundle.Tree        // metalpack/tree
	TreeDigest  digest.Digest
	Layers      []Layer // in manifest order, the metadata layer last

	in     Input
	wheels []*os.File
	unlock func() error // of the cache
	notes  notebook
}

// Layer is one layer as planned.
type Layer struct {
	Name     string
	Identity string // sha256 over its tree rows, the payload root and the tar format, hex
	Wheels   string // sha256 over those of the wheels in it, hex; "" = of none
	Size     int64  // bytes of its files
	Entries  int

	files []plannedFile
}

// plannedFile is one entry of the tree and where its content comes from.
type plannedFile struct {
	bundle.TreeEntry
	owner string // for messages: a wheel's file name, or ownerInterpreter
	pkg   string // normalised name of the package; "" if it is of none
	open  func() (io.ReadCloser, error)
}

// memoryFile is a file that the builder writes itself.
func memoryFile(p string, content []byte, layer, owner string) plannedFile {
	return plannedFile{
		TreeEntry: bundle.TreeEntry{Path: p, Mode: bundle.ModeFile, Size: int64(len(content)), SHA256: digest.FromBytes(content).Encoded(), Layer: layer},
		owner:     owner,
		open:      func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
}

// NewPlan reads the interpreter archive and the directories and RECORDs of all
// wheels and decides every entry of the environment. Files of wheels stay open
// until [Plan.Close]. Errors wrap [bundle.ErrInvalid] or [bundle.ErrMismatch] and
// name the archive, or are those of the file system.
func NewPlan(ctx context.Context, in Input) (*Plan, error) { return makePlan(ctx, in, true) }

// makePlan is NewPlan, or [Preview] if nothing is to be kept in the cache.
func makePlan(ctx context.Context, in Input, keep bool) (plan *Plan, err error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	p := &Plan{in: in}
	p.in.Events = p.notes.watch(in.Events)
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if keep {
		if p.unlock, err = lockCache(ctx, in.CacheDir); err != nil {
			return nil, err
		}
	}
	wheels, err := p.openWheels(ctx)
	if err != nil {
		return nil, err
	}
	files, err := readInterpreter(ctx, &p.in, keep)
	if err != nil {
		return nil, err
	}
	files, err = merge(&p.in, files, wheels)
	if err != nil {
		return nil, err
	}
	p.layOut(files)
	p.describe(wheels)
	return p, p.addMetadata()
}

// Close closes the wheel files and lets go of the cache. A plan cannot be built after it.
func (p *Plan) Close() error {
	errs := make([]error, 0, len(p.wheels))
	for _, f := range p.wheels {
		errs = append(errs, f.Close())
	}
	p.wheels = nil
	if p.unlock != nil {
		errs = append(errs, p.unlock())
		p.unlock = nil
	}
	return errors.Join(errs...)
}

// maxMetadataFiles is how many files the metadata layer adds to the tree.
const maxMetadataFiles = 3

// layOut groups the files, which are sorted, into layers: the interpreter first,
// the others by name.
func (p *Plan) layOut(files []plannedFile) {
	p.Tree = &bundle.Tree{Entries: make([]bundle.TreeEntry, 0, len(files)+maxMetadataFiles)}
	for _, f := range files {
		p.Tree.Entries = append(p.Tree.Entries, f.TreeEntry)
	}
	// The layers are pieces of the one list: a copy of it would cost as much again.
	slices.SortStableFunc(files, func(a, b plannedFile) int { return strings.Compare(a.Layer, b.Layer) })
	for len(files) > 0 {
		name, n := files[0].Layer, 1
		for n < len(files) && files[n].Layer == name {
			n++
		}
		l := newLayer(p.in.Name, name, files[:n:n])
		files = files[n:]
		l.Wheels = p.in.sumOf(l.files)
		p.Layers = append(p.Layers, l)
	}
	slices.SortFunc(p.Layers, func(a, b Layer) int {
		if (a.Name == layerInterpreter) != (b.Name == layerInterpreter) {
			return cmp.Compare(b2i(b.Name == layerInterpreter), b2i(a.Name == layerInterpreter))
		}
		return strings.Compare(a.Name, b.Name)
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// newLayer computes a layer's identity: whatever changes a byte of its tar
// stream changes the rows, the root or the format, and nothing else does.
func newLayer(root, name string, files []plannedFile) Layer {
	slices.SortFunc(files, func(a, b plannedFile) int { return strings.Compare(a.Path, b.Path) })
	l := Layer{Name: name, Entries: len(files), files: files}
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "metalpack-layer tar/%d %s\n", tarball.FormatVersion, root) // a hash takes all
	var row []byte
	for i := range files {
		l.Size += files[i].Size
		row = append(files[i].AppendRow(row[:0]), '\n')
		_, _ = h.Write(row)
	}
	l.Identity = hex.EncodeToString(h.Sum(nil))
	return l
}

// sumOf is the sha256 over those of the wheels that files come from.
func (in *Input) sumOf(files []plannedFile) string {
	owners := map[string]bool{}
	for i := range files {
		owners[files[i].owner] = true
	}
	h, some := sha256.New(), false
	for _, w := range in.Wheels { // in the order of the lock
		if owners[w.File] {
			_, _ = fmt.Fprintln(h, w.SHA256) // a hash takes all
			some = true
		}
	}
	if !some {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// describe fills the environment but for what depends on it.
func (p *Plan) describe(wheels []openWheel) {
	in := &p.in
	e := &bundle.Environment{
		Version: bundle.EnvironmentVersion, Name: in.Name, Release: in.Release, Platform: in.Platform,
		Interpreter: bundle.Interpreter{Version: in.Interpreter.Version, SHA256: in.Interpreter.SHA256},
		Packages:    make([]bundle.Package, 0, len(wheels)),
		Layers:      make([]bundle.LayerInfo, 0, len(p.Layers)),
		Decisions:   append([]bundle.Decision{}, in.Decisions...),
		Launch:      in.Launch,
		Probes:      append([]bundle.Probe{}, in.Probes...),
	}
	if e.Launch == nil {
		e.Launch = map[string]bundle.Profile{}
	}
	for _, w := range wheels {
		e.Packages = append(e.Packages, bundle.Package{Name: w.Name, Version: w.Version, File: w.File, SHA256: w.in.SHA256, Layer: w.layer})
	}
	for _, l := range p.Layers {
		e.Layers = append(e.Layers, bundle.LayerInfo{Name: l.Name, Identity: l.Identity, Entries: l.Entries, Size: l.Size})
	}
	slices.SortFunc(e.Decisions, func(a, b bundle.Decision) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Package, b.Package), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Reason, b.Reason))
	})
	p.Environment = e
}

// addMetadata makes the last layer and with it the tree.
func (p *Plan) addMetadata() error {
	env, err := p.Environment.Encode()
	if err != nil {
		return err
	}
	own := func(path string, content []byte) plannedFile {
		return memoryFile(path, content, bundle.MetadataLayer, bundle.MetadataLayer)
	}
	files := []plannedFile{own(bundle.EnvironmentPath, env)}
	if len(p.in.RecipeYAML) > 0 {
		files = append(files, own(bundle.RecipePath, p.in.RecipeYAML))
	}
	if len(p.in.LockTOML) > 0 {
		files = append(files, own(bundle.LockPath, p.in.LockTOML))
	}
	for _, f := range files {
		p.Tree.Entries = append(p.Tree.Entries, f.TreeEntry)
	}
	slices.SortFunc(p.Tree.Entries, func(a, b bundle.TreeEntry) int { return strings.Compare(a.Path, b.Path) })
	encoded := p.Tree.Encode()
	if _, err := bundle.ParseTree(encoded); err != nil { // what no reader takes must not be built
		return err
	}
	p.TreeDigest = bundle.TreeDigest(encoded)
	p.Layers = append(p.Layers, newLayer(p.in.Name, bundle.MetadataLayer, append(files, own(bundle.TreePath, encoded))))
	return nil
}
