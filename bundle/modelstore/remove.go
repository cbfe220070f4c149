// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/diskspace"
)

// Removal is what [Store.Remove] did.
type Removal struct {
	ID     digest.Digest // of the model; "" if its entry had none
	Tags   []string      // that are gone, fully qualified
	Left   []string      // that the model still has: with any, nothing but the tag was removed
	Files  int           // blobs that were removed
	Freed  int64         // bytes of those that had no other name on the disk
	Shared []Shared      // what stays because others use it
}

// Shared is what a model has in common with another.
type Shared struct {
	With  string `json:"with"`  // the other model's first tag, or its short id
	Files int    `json:"files"` // blobs
	Bytes int64  `json:"bytes"`
}

// NamesError says that a model was to be removed by its id, although it has
// several names.
type NamesError struct {
	ID   digest.Digest
	Tags []string
}

// Error implements error.
func (e *NamesError) Error() string {
	return fmt.Sprintf("model %s has %d names: %s", e.ID.Encoded()[:12], len(e.Tags), strings.Join(e.Tags, ", "))
}

// Hint is how to say it.
func (e *NamesError) Hint() string {
	return fmt.Sprintf("'metalrun rm %s' removes them all, and the model with the last", strings.Join(e.Tags, " "))
}

// Unwrap returns [bundle.ErrInvalid].
func (e *NamesError) Unwrap() error { return bundle.ErrInvalid }

// Remove takes a tag from a model, and with its last tag, or by its id, the
// model from the store: its entry first, so that nobody finds half of it, then
// manifest, DMR's directory of links, our own, and the blobs that no other
// entry names. On a full disk the blobs go first, as nothing can be written. A
// removal that was killed is brought to its end by the next. A process that has
// the files open keeps them. Errors: [bundle.ErrNotFound];
// [*NamesError]; [bundle.ErrInvalid] for a bad name or a damaged models.json.
func (s *Store) Remove(ctx context.Context, nameOrID string, events bundle.EventFunc) (r Removal, err error) {
	unlock, err := s.lock(ctx, events)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := s.checkWrite(); err != nil {
		return r, err
	}
	if err := s.finishRemovals(ctx, events); err != nil {
		return r, err
	}
	x, err := s.readIndex()
	if err != nil {
		return r, err
	}
	e, tag, err := s.find(x, nameOrID)
	if err != nil {
		return r, err
	}
	if bundle.CheckDigest(e.ID) == nil {
		r.ID, e.Tags = e.ID, x.tagsOf(e.ID)
	}
	r.Tags = e.fullTags()
	if left := (entry{Tags: e.tagsWithout(tag)}).fullTags(); tag != "" && len(left) > 0 {
		r.Tags, r.Left = []string{tag}, left
		return r, s.rewrite(
			func(x *index) bool { return !x.tagged(tag) },
			func(x *index) ([]byte, error) { return x.untag(tag) },
			putBack(tag))
	}
	if names := e.nameable(); tag == "" && len(names) > 1 {
		return Removal{}, &NamesError{e.ID, names}
	}
	return r, s.removeModel(ctx, x, e, &r, events)
}

// putBack is the error of a change that another writer undoes.
func putBack(what string) error {
	return fmt.Errorf("another program keeps putting %s back; stop it and remove it again", what)
}

// tagsOf are the tags of a model, whose entry may be there twice.
func (x *index) tagsOf(id digest.Digest) (tags []string) {
	for _, e := range x.entries {
		if e.ID == id {
			tags = append(tags, e.Tags...)
		}
	}
	return tags
}

// tagged reports whether any entry has a tag.
func (x *index) tagged(tag string) bool {
	return slices.ContainsFunc(x.entries, func(e entry) bool { return e.hasTag(tag) })
}

// nameable are the tags by which a user can call the model.
func (e entry) nameable() []string {
	return slices.DeleteFunc(e.fullTags(), func(t string) bool {
		_, err := Normalize(t)
		return err != nil
	})
}

// removeModel removes an entry of x and what belongs to it alone.
func (s *Store) removeModel(ctx context.Context, x *index, e entry, r *Removal, events bundle.EventFunc) error {
	gone := func(o entry) bool { return o.ID == e.ID && (r.ID != "" || slices.Equal(o.Tags, e.Tags)) }
	doomed := removal{ID: r.ID}
	var others []entry
	for _, o := range x.entries {
		if !gone(o) {
			others = append(others, o)
			continue
		}
		doomed.Blobs = append(doomed.Blobs, s.blobsOf(o)...)
	}
	r.Shared = s.sharing(others, doomed.Blobs)
	err := s.delist(doomed, gone, e.label())
	if diskspace.Full(err) { // the note and the list want a few kB: what is to go makes room for them
		note(events, "the disk is full: the files of %s go before its entry", e.label())
		rest, perr := parseIndex(x.without(gone))
		if perr != nil {
			return perr
		}
		early, freed, rerr := s.removeBlobs(doomed, s.used(rest))
		if r.Files, r.Freed = len(early), freed; rerr != nil {
			return rerr
		}
		err = s.delist(doomed, gone, e.label())
	}
	if err != nil {
		return errors.Join(err, s.settle(doomed)) // it may stay: nothing of it may go
	}
	files, freed, err := s.carryOut(ctx, doomed, events)
	r.Files, r.Freed = max(r.Files, files), r.Freed+freed // what went early is named again
	return err
}

// delist notes a removal and takes its entry out of models.json.
func (s *Store) delist(r removal, gone func(entry) bool, label string) error {
	if err := s.begin(r); err != nil {
		return err
	}
	return s.rewrite(
		func(x *index) bool { return !slices.ContainsFunc(x.entries, gone) },
		func(x *index) ([]byte, error) { return x.without(gone), nil },
		putBack("the entry of "+label))
}

// sharing says which of some blobs other entries use, entry by entry.
func (s *Store) sharing(others []entry, blobs []digest.Digest) []Shared {
	sizes := map[digest.Digest]int64{}
	for _, d := range blobs {
		if size, ok := s.blobSize(d); ok {
			sizes[d] = size
		}
	}
	var out []Shared
	for _, o := range others {
		var with Shared
		for _, d := range s.blobsOf(o) {
			if size, ok := sizes[d]; ok {
				with.Files++
				with.Bytes += size
			}
		}
		if with.Files > 0 {
			with.With = o.label()
			out = append(out, with)
		}
	}
	return out
}
