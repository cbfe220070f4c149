// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/metalpack/metalpack/bundle/modelstore"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
)

// removedModel is what rm did for one of its arguments.
type removedModel struct {
	Removed []string            `json:"removed"` // names that are gone
	Left    []string            `json:"left"`    // names that the model still has: it stays
	ID      string              `json:"id"`
	Files   int                 `json:"files"` // blobs that are gone
	Freed   int64               `json:"freed"` // bytes
	Shared  []modelstore.Shared `json:"shared"`
}

type rmOptions struct {
	unused bool
	dryRun bool
}

func (o rmOptions) validate(args []string) error {
	switch {
	case o.unused && len(args) > 0:
		return edge.Usagef("rm: --unused is for what belongs to no model, %s is one: remove it first", args[0])
	case o.dryRun && !o.unused:
		return edge.Usagef("rm: --dry-run goes with --unused; 'metalrun inspect MODEL' tells what a model has of its own")
	case !o.unused && len(args) == 0:
		return edge.Usagef("rm: missing MODEL")
	}
	return nil
}

func (a *app) rmVerb() verb {
	var o rmOptions
	return verb{
		name: "rm", args: "MODEL… | --unused [--dry-run]", short: "remove models from the store",
		long: "Removes a name, and the model with its last one. Files that other models use stay; a\n" +
			"download of the model that did not end goes too. MODEL may be an id if the model has no\n" +
			"other names than one. 'docker model' no longer lists what is removed either.\n\n" +
			"--unused removes what belongs to no model: what pulls that were given up have left, ours\n" +
			"and those of 'docker model pull', and files whose model has lost its entry. What another\n" +
			"program changed within the last hour stays, and everything does while it pulls.",
		example: "metalrun rm ai/smollm2:135m\n  metalrun rm --unused --dry-run",
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&o.unused, "unused", false, "remove what belongs to no model instead")
			fs.BoolVar(&o.dryRun, "dry-run", false, "say what --unused would remove, and remove nothing")
		},
		run: func(ctx context.Context, args []string) error {
			if err := o.validate(args); err != nil {
				return err
			}
			if o.unused {
				return a.runUnused(ctx, o.dryRun)
			}
			return a.runRemove(ctx, args)
		},
	}
}

// removedUnused is the result of rm --unused.
type removedUnused struct {
	DryRun bool `json:"dryRun"`
	modelstore.Unused
}

func (a *app) runUnused(ctx context.Context, dry bool) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	u, err := store.RemoveUnused(ctx, dry, a.Events())
	if err != nil {
		return err
	}
	if u.Kept.Files > 0 {
		a.Note("%s, %s, may be another program's work, which changed something within the last hour: they stay", ui.Plural(u.Kept.Files, "file"), ui.Bytes(u.Kept.Bytes))
	}
	return a.Result(removedUnused{dry, u}, unusedText(u, dry))
}

func unusedText(u modelstore.Unused, dry bool) string {
	verb := "removed"
	if dry {
		verb = "unused"
	}
	var text strings.Builder
	row := func(n modelstore.Amount, what string) {
		if n.Files > 0 {
			fmt.Fprintf(&text, "%s: %s, %s, %s\n", verb, ui.Plural(n.Files, "file"), ui.Bytes(n.Bytes), what)
		}
	}
	row(u.Blobs, "that no model names")
	row(u.Partial, "of downloads that did not end")
	row(u.Other, "of manifests and links of models that are gone")
	switch {
	case text.Len() > 0:
		return text.String()
	case u.Kept.Files > 0:
		return "nothing is surely unused\n"
	}
	return "nothing is unused\n"
}

func (a *app) runRemove(ctx context.Context, words []string) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	all := make([]removedModel, 0, len(words))
	var errs []error
	var text strings.Builder
	for _, word := range words {
		r, err := a.remove(ctx, store, word)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, r)
		text.WriteString(r.text())
	}
	if len(all) > 0 {
		errs = append(errs, a.Result(all, text.String()))
	}
	return errors.Join(errs...)
}

func (a *app) remove(ctx context.Context, store *modelstore.Store, word string) (removedModel, error) {
	name, err := localName(word)
	if err != nil {
		return removedModel{}, err
	}
	r, err := store.Remove(ctx, name, a.Events())
	if err != nil {
		return removedModel{}, suggest(store, word, err)
	}
	out := removedModel{
		Removed: append([]string{}, r.Tags...), Left: append([]string{}, r.Left...), ID: r.ID.String(), // empty lists in JSON, not null
		Files: r.Files, Freed: r.Freed, Shared: append([]modelstore.Shared{}, r.Shared...),
	}
	for _, s := range r.Shared {
		a.Note("%s shares %s, %s, with %s: they stay", out.label(), ui.Plural(s.Files, "file"), ui.Bytes(s.Bytes), s.With)
	}
	return out, nil
}

// label is what a removed model was called.
func (r removedModel) label() string {
	if len(r.Removed) == 0 {
		return r.ID
	}
	return strings.Join(r.Removed, ", ")
}

func (r removedModel) text() string {
	if len(r.Left) > 0 {
		return fmt.Sprintf("%s is removed; the model stays as %s\n", r.label(), strings.Join(r.Left, ", "))
	}
	return fmt.Sprintf("%s is removed: %s, %s freed\n", r.label(), ui.Plural(r.Files, "file"), ui.Bytes(r.Freed))
}
