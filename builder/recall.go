// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/builder/macho"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/cachedir"
	"github.com/metalpack/metalpack/internal/filestamp"
)

// Outline is how large an environment is.
type Outline struct {
	Packages int   `json:"packages"`
	Files    int   `json:"files"`
	Size     int64 `json:"size"` // bytes of all files
	Layers   int   `json:"layers"`
}

// Outline says how large the planned environment is.
func (p *Plan) Outline() Outline {
	o := Outline{Packages: len(p.Environment.Packages), Layers: len(p.Layers)}
	for i := range p.Layers {
		o.Files += p.Layers[i].Entries
		o.Size += p.Layers[i].Size
	}
	return o
}

// recollection is what the cache remembers of a build: all that a variant needs
// besides the layers.
type recollection struct {
	Outline    Outline         `json:"outline"`
	TreeDigest digest.Digest   `json:"treeDigest"`
	Layers     []recalledLayer `json:"layers"`
	Binaries   *macho.Report   `json:"binaries"`
	Notes      []string        `json:"notes"` // for the user, as they were then
}

// recalledLayer is one layer of a recollection.
type recalledLayer struct {
	Name     string        `json:"name"`
	Identity string        `json:"identity"`
	Wheels   string        `json:"wheels"`
	DiffID   digest.Digest `json:"diffId"`
	Size     int64         `json:"size"` // bytes of its files
}

// Recall returns the variant that an earlier [Plan.Build] by this very program
// file made of the same input, if the cache still has every layer of it: then no
// wheel needs to be opened. Otherwise ok is false. Errors wrap
// [bundle.ErrInvalid], or are those of the file system.
func Recall(ctx context.Context, in Input) (v *Variant, ok bool, err error) {
	if err := in.check(); err != nil {
		return nil, false, err
	}
	codecs, err := in.codecs()
	if err != nil {
		return nil, false, err
	}
	unlock, err := lockCache(ctx, in.CacheDir)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	name, ok := in.memory()
	if !ok {
		return nil, false, nil
	}
	var r recollection
	if !readMemo(name, &r) || len(r.Layers) != r.Outline.Layers {
		return nil, false, nil
	}
	v = in.variant(r.Outline, r.TreeDigest, codecs)
	for i, l := range r.Layers {
		built, missing := fromCache(in.CacheDir, &Layer{Name: l.Name, Identity: l.Identity, Wheels: l.Wheels}, codecs)
		if len(missing) > 0 || built.diffID != l.DiffID {
			return nil, false, nil
		}
		v.layers[i] = built
	}
	v.Binaries = r.Binaries
	interpreter, err := newInterpreterStore(&in, true)
	if err != nil {
		return nil, false, err
	}
	cachedir.Touch(name)
	cachedir.Touch(interpreter.memo) // used all the same
	for _, note := range r.Notes {
		in.Events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: note})
	}
	for i, l := range r.Layers {
		in.Events.Emit(skipped(l.Name, l.Size, v.layers[i]))
	}
	return v, true, nil
}

// remember keeps what Recall needs. Notes and the report are part of it, so that
// a build which has nothing to do says what the first one said.
func (p *Plan) remember(v *Variant) error {
	name, ok := p.in.memory()
	if !ok {
		return nil
	}
	r := recollection{Outline: v.Outline, TreeDigest: v.TreeDigest, Binaries: v.Binaries, Notes: p.notes.all()}
	for i, l := range p.Layers {
		r.Layers = append(r.Layers, recalledLayer{l.Name, l.Identity, l.Wheels, v.layers[i].diffID, l.Size})
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return writeMemo(name, r)
}

// memory names the file of what is remembered of this input: its name is the
// sha256 over everything that the result depends on. Of the program that is the
// stamp of its file, because nothing else tells two builds of it apart; ok is
// false where there is none.
func (in *Input) memory() (name string, ok bool) {
	program, err := os.Executable()
	if err != nil {
		return "", false
	}
	info, err := os.Stat(program)
	if err != nil {
		return "", false
	}
	stamp, ok := filestamp.Of(info)
	if !ok {
		return "", false
	}
	all := *in
	all.CacheDir, all.Parallel, all.Interpreter.Path = "", 0, ""
	all.Wheels = append([]Wheel{}, in.Wheels...)
	for i := range all.Wheels {
		all.Wheels[i].Path = ""
	}
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(all); err != nil { //nolint:musttag // hashed, and read by nobody
		return "", false
	}
	_, _ = fmt.Fprint(h, stamp) // a hash takes all
	return filepath.Join(in.CacheDir, "plans", hex.EncodeToString(h.Sum(nil))+".json"), true
}

// notebook keeps the notes among events.
type notebook struct {
	mu    sync.Mutex
	notes []string
}

// watch passes events on.
func (n *notebook) watch(next bundle.EventFunc) bundle.EventFunc {
	return func(e bundle.Event) {
		if e.Kind == bundle.EventNote {
			n.mu.Lock()
			n.notes = append(n.notes, e.Reason)
			n.mu.Unlock()
		}
		next.Emit(e)
	}
}

func (n *notebook) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.notes
}
