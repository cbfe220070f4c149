// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
	"github.com/metalpack/metalpack/bundle/modelstore"
	"github.com/metalpack/metalpack/bundle/transports"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
)

// verifiedModel is the result of verify for one model.
type verifiedModel struct {
	Name     string        `json:"name"`
	ID       string        `json:"id"`
	Files    int           `json:"files"`
	Size     int64         `json:"size"` // bytes of them
	Damaged  []damagedFile `json:"damaged"`
	Repaired []string      `json:"repaired"` // files that were damaged
}

// damagedFile is a file of a model that is not what it should be.
type damagedFile struct {
	Path    string `json:"path"`
	Blob    string `json:"blob"` // file in the store
	Problem string `json:"problem"`
}

// verifyModels checks each of several models, and reports all that is wrong.
func (a *app) verifyModels(ctx context.Context, words []string, o verifyOptions) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	all := make([]verifiedModel, 0, len(words))
	var errs []error
	var text strings.Builder
	for _, word := range words {
		out, err := a.verifyModel(ctx, store, word, o)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if out.ID != "" {
			all = append(all, out)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(&text, "%s: %s, %s, are as they should be", out.Name, ui.Plural(out.Files, "file"), ui.Bytes(out.Size))
		if n := len(out.Repaired); n > 0 {
			fmt.Fprintf(&text, "; %d of them had been damaged", n)
		}
		text.WriteString("\n")
	}
	if len(all) > 0 {
		errs = append(errs, a.Result(all, text.String()))
	}
	return errors.Join(errs...)
}

func (a *app) verifyModel(ctx context.Context, store *modelstore.Store, word string, o verifyOptions) (verifiedModel, error) {
	out := verifiedModel{Damaged: []damagedFile{}, Repaired: []string{}} // empty lists in JSON, not null
	m, err := find(store, word)
	if damage, ok := errors.AsType[*modelstore.DamagedError](err); ok && o.repair {
		a.Note("%v", damage)
		out.Repaired = append(out.Repaired, damage.Path)
		m, err = a.pullAgain(ctx, store, m, damage)
	}
	if err != nil {
		return out, err
	}
	out.Name, out.ID = modelName(m), m.ID.String()
	report, err := store.Check(ctx, m, o.deep, a.Events())
	if err != nil {
		return out, err
	}
	if len(report.Damaged) > 0 && o.repair {
		for _, d := range report.Damaged {
			a.Note("%v", d)
			out.Repaired = append(out.Repaired, d.Path)
		}
		if err := a.repairModel(ctx, store, m, report.Damaged); err != nil {
			return out, err
		}
		if report, err = store.Check(ctx, m, false, a.Events()); err != nil { // what came was hashed
			return out, err
		}
	}
	out.Files, out.Size = report.Files, report.Bytes
	var errs []error
	for _, d := range report.Damaged {
		out.Damaged = append(out.Damaged, damagedFile{d.Path, d.Blob, d.Err.Error()})
		errs = append(errs, d)
	}
	return out, errors.Join(errs...)
}

// repairModel fetches damaged files from the first place that has them: those
// that the model's names tell of.
func (a *app) repairModel(ctx context.Context, store *modelstore.Store, m modelstore.Model, damaged []*modelstore.DamagedError) error {
	for _, d := range damaged {
		if errors.Is(d, bundle.ErrInvalid) { // somebody put it there: it is not replaced
			return d
		}
	}
	var errs []error
	for _, tag := range m.Tags {
		err := a.repairFrom(ctx, store, m, tag, damaged)
		if err == nil || ctx.Err() != nil {
			return err
		}
		errs = append(errs, err)
	}
	return unmended(m, errs)
}

// unmended is the error of a model that no place could mend.
func unmended(m modelstore.Model, errs []error) error {
	if len(errs) == 0 {
		errs = []error{fmt.Errorf("model %s: it has no name that tells where it came from: %w", modelName(m), bundle.ErrMismatch)}
	}
	err := errors.Join(errs...)
	if edge.Hinted(err) {
		return err
	}
	return edge.WithHint(err, "'metalrun pull REFERENCE' of where %s came from, like oci:DIR:TAG, mends it too", modelName(m))
}

func (a *app) repairFrom(ctx context.Context, store *modelstore.Store, m modelstore.Model, tag string, damaged []*modelstore.DamagedError) (err error) {
	if hub.IsReference(tag) {
		src, err := a.openHubFiles(ctx, store, m, tag)
		if err != nil {
			return err
		}
		return store.Repair(ctx, src, damaged, a.Events())
	}
	src, closeSource, err := a.openTag(tag)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	return store.Repair(ctx, src, damaged, a.Events())
}

// openTag opens the repository that a tag of the store tells of.
func (a *app) openTag(tag string) (bundle.Source, func() error, error) {
	ref, err := bundle.ParseSource(tag, "")
	if err != nil {
		return nil, nil, err
	}
	return transports.OpenSource(ref, a.remote())
}

// pullAgain mends a model whose manifest or config is damaged, so that nobody
// can say what its files are: it is pulled by its digest, whatever its names
// mean today.
func (a *app) pullAgain(ctx context.Context, store *modelstore.Store, m modelstore.Model, damage error) (modelstore.Model, error) {
	var errs []error
	for _, tag := range m.Tags {
		if hub.IsReference(tag) { // a hub has files, and no manifest
			errs = append(errs, edge.WithHint(damage, "'metalrun pull %s' fetches the model anew", tag))
			continue
		}
		mended, err := a.pullDigest(ctx, store, m, tag)
		if err == nil || ctx.Err() != nil {
			return mended, err
		}
		errs = append(errs, err)
	}
	return m, unmended(m, errs)
}

func (a *app) pullDigest(ctx context.Context, store *modelstore.Store, m modelstore.Model, tag string) (_ modelstore.Model, err error) {
	src, closeSource, err := a.openTag(tag)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	root, err := src.Resolve(ctx, m.ID.String())
	if err != nil {
		return m, err
	}
	return a.pullInto(ctx, store, src, root, tag)
}
