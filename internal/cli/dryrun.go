// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/builder"
	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/recipes"
)

// dryRun is the result of build --dry-run.
type dryRun struct {
	Name     string          `json:"name"`
	Release  string          `json:"release"`
	Complete bool            `json:"complete"` // every input is on this machine: all numbers are known
	Targets  []plannedTarget `json:"targets"`

	Destination *plannedDest `json:"destination,omitempty"` // with -o
}

// plannedTarget is one target of a dry run.
type plannedTarget struct {
	Platform  string            `json:"platform"`
	Floor     string            `json:"floor"`
	Python    string            `json:"python"`
	Complete  bool              `json:"complete"`
	Inputs    []plannedInput    `json:"inputs"` // the interpreter first, then the packages by name
	Layers    []plannedLayer    `json:"layers"`
	Decisions []bundle.Decision `json:"decisions"` // those that applied; all of the recipe in a plan that is not complete
	Sums      plannedSums       `json:"sums"`
}

// plannedInput is one file that a target is made of.
type plannedInput struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	File    string `json:"file"`
	SHA256  string `json:"sha256"`
	Size    int64  `json:"size,omitempty"` // bytes; absent = not known before it is downloaded
	Where   string `json:"where"`          // cache, directory, archive, url, index, nowhere
	Path    string `json:"path,omitempty"`
	Archive string `json:"archive,omitempty"` // that has it, of --inputs-from
	Layer   string `json:"layer,omitempty"`   // absent = its size, which decides, is not known
}

// plannedLayer is one layer. What is absent is not known before all its inputs
// are here.
type plannedLayer struct {
	Name     string        `json:"name"`
	Inputs   int           `json:"inputs"`    // files that go into it
	Input    int64         `json:"inputSize"` // their bytes, as far as they are known
	Entries  int           `json:"entries,omitempty"`
	Size     int64         `json:"size,omitempty"` // bytes of its files
	Identity string        `json:"identity,omitempty"`
	Blobs    []plannedBlob `json:"blobs,omitempty"`
}

// plannedBlob is a layer in one codec.
type plannedBlob struct {
	Codec  string `json:"codec"`
	Cached bool   `json:"cached"`           // else it will be built
	Digest string `json:"digest,omitempty"` // of a cached one
	Size   int64  `json:"size,omitempty"`   // compressed bytes of a cached one
}

// plannedSums adds up a target.
type plannedSums struct {
	Packages      int   `json:"packages"`
	Here          int   `json:"here"`         // inputs on this machine
	HereSize      int64 `json:"hereSize"`     // their bytes
	Archived      int   `json:"archived"`     // inputs that an archive has
	ArchivedSize  int64 `json:"archivedSize"` // their bytes
	Download      int   `json:"download"`     // inputs that must be downloaded from elsewhere
	DownloadSize  int64 `json:"downloadSize"` // their bytes, as far as they are known
	UnknownSizes  int   `json:"unknownSizes"` // downloads whose size is not known
	Files         int   `json:"files,omitempty"`
	Size          int64 `json:"size,omitempty"` // bytes of all files
	LayersCached  int   `json:"layersCached"`   // in every codec
	LayersToBuild int   `json:"layersToBuild"`
}

// runDryRun shows what build would do. It reads what is on this machine, asks
// archives and destination what they have, if the command line names any, and
// changes nothing.
func (a *app) runDryRun(ctx context.Context, r *recipes.Recipe, all []*targetInputs, dest bundle.Reference, o buildOptions) error {
	cache, err := a.inputCache()
	if err != nil {
		return err
	}
	archives, err := a.archives(ctx, o.inputOptions)
	if err != nil {
		return err
	}
	f := inputs.Fetcher{Cache: cache, FindLinks: append(r.WheelDirs(), o.findLinks...), Archives: a.reachable(o.inputsFrom, archives)}
	out := dryRun{Name: r.Name, Release: r.Release, Complete: true}
	for _, t := range all {
		planned, err := a.planTarget(ctx, r, t, &f)
		if err != nil {
			return fmt.Errorf("%s %s: %w", r.Name, t.target.Platform, err)
		}
		out.Targets = append(out.Targets, planned)
		out.Complete = out.Complete && planned.Complete
	}
	if o.dest != "" {
		known, unknown := out.blobs(len(r.Compression.Codecs))
		if out.Destination, err = a.planDest(ctx, dest, known); err != nil {
			return err
		}
		out.Destination.Build = unknown
	}
	return a.Result(out, out.text(argument(r), a.Table))
}

// reachable lets an archive that cannot be asked now have nothing, and says so.
func (a *app) reachable(words []string, archives []func(context.Context) (*inputs.Archive, error)) []func(context.Context) (*inputs.Archive, error) {
	for i, open := range archives {
		var none *inputs.Archive
		archives[i] = func(ctx context.Context) (*inputs.Archive, error) {
			if none != nil {
				return none, nil
			}
			var archive *inputs.Archive
			err := answered(ctx, patience, "--inputs-from "+words[i], func(ctx context.Context) (err error) {
				archive, err = open(ctx)
				return err
			})
			if err != nil && unreached(err) && ctx.Err() == nil {
				none = new(inputs.Archive)
				a.Note("%v; what it has is not known", err)
				return none, nil
			}
			return archive, err
		}
	}
	return archives
}

// planTarget locates the inputs of a target and, when all are here, plans it to
// the last file.
func (a *app) planTarget(ctx context.Context, r *recipes.Recipe, t *targetInputs, f *inputs.Fetcher) (out plannedTarget, err error) {
	b := t.target.Bundle()
	out = plannedTarget{Platform: t.target.Platform, Floor: b.Floor(), Python: t.target.Interpreter.Version, Complete: true}
	t.paths = map[string]string{}
	for n, w := range t.wants {
		place, err := f.Locate(ctx, w)
		if err != nil {
			return out, err
		}
		in := plannedInput{Name: w.Name, Version: w.Version, File: w.File, SHA256: w.SHA256, Size: place.Size, Where: place.Where, Path: place.Path, Archive: place.Archive}
		switch {
		case n == 0:
			in.Layer = builder.InterpreterLayer
		case place.Size > 0:
			in.Layer = builder.LayerOf(w.Name, place.Size)
		}
		t.paths[w.SHA256] = place.Path
		out.Complete = out.Complete && place.Here()
		out.Inputs = append(out.Inputs, in)
	}
	slices.SortStableFunc(out.Inputs[1:], func(x, y plannedInput) int { return strings.Compare(x.Name, y.Name) })
	out.Decisions = r.Decisions(t.target)
	out.fromLock()
	if out.Complete {
		err = a.complete(ctx, r, t, &out)
	}
	return out, err
}

// fromLock fills what is known without a look into any file.
func (t *plannedTarget) fromLock() {
	layers := map[string]*plannedLayer{}
	for n, in := range t.Inputs {
		if n > 0 {
			t.Sums.Packages++
		}
		switch {
		case in.Path != "":
			t.Sums.Here++
			t.Sums.HereSize += in.Size
		case in.Archive != "":
			t.Sums.Archived++
			t.Sums.ArchivedSize += in.Size
		default:
			t.Sums.Download++
			t.Sums.DownloadSize += in.Size
			if in.Size == 0 {
				t.Sums.UnknownSizes++
			}
		}
		if in.Layer == "" {
			continue
		}
		if layers[in.Layer] == nil {
			layers[in.Layer] = &plannedLayer{Name: in.Layer}
		}
		layers[in.Layer].Inputs++
		layers[in.Layer].Input += in.Size
	}
	layers[bundle.MetadataLayer] = &plannedLayer{Name: bundle.MetadataLayer}
	t.Layers = make([]plannedLayer, 0, len(layers))
	for _, l := range layers {
		t.Layers = append(t.Layers, *l)
	}
	slices.SortFunc(t.Layers, func(a, b plannedLayer) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), strings.Compare(a.Name, b.Name))
	})
}

// rank puts layers into the order of a manifest.
func (l *plannedLayer) rank() int {
	switch l.Name {
	case builder.InterpreterLayer:
		return 0
	case bundle.MetadataLayer:
		return 2
	}
	return 1
}

// complete replaces what the lock tells by the plan itself.
func (a *app) complete(ctx context.Context, r *recipes.Recipe, t *targetInputs, out *plannedTarget) (err error) {
	in, err := a.builderInput(r, t)
	if err != nil {
		return err
	}
	plan, err := builder.Preview(ctx, in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	known := map[string]plannedLayer{}
	for _, l := range out.Layers {
		known[l.Name] = l
	}
	out.Layers = out.Layers[:0]
	for i := range plan.Layers {
		l := &plan.Layers[i]
		row := known[l.Name]
		row.Name, row.Entries, row.Size, row.Identity = l.Name, l.Entries, l.Size, l.Identity
		blobs, err := plan.Cached(l)
		if err != nil {
			return err
		}
		out.Sums.Files += l.Entries
		out.Sums.Size += l.Size
		all := true
		for _, b := range blobs {
			row.Blobs = append(row.Blobs, plannedBlob{Codec: b.Codec, Cached: b.Digest != "", Digest: b.Digest.String(), Size: b.Size})
			all = all && b.Digest != ""
		}
		if all {
			out.Sums.LayersCached++
		} else {
			out.Sums.LayersToBuild++
		}
		out.Layers = append(out.Layers, row)
	}
	out.Decisions = plan.Applied()
	return nil
}
