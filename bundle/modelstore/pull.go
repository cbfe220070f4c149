// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/diskspace"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Pull fetches the model that desc describes into the store and gives it the
// name ref, which it takes from any other model. Blobs that are there already
// are hashed, once, and fetched again if they are damaged; a pull that was cut
// continues where it stopped. A Docker Model Runner that answers registers the
// model; otherwise it is written into models.json. Errors: those of src;
// [bundle.ErrInvalid] for what is no model, or has weights that are not
// safetensors, for a bad name, or for a damaged models.json;
// [bundle.ErrMismatch]; a [*diskspace.Error].
func (s *Store) Pull(ctx context.Context, src bundle.Source, desc bundle.Descriptor, ref string, events bundle.EventFunc) (m Model, err error) {
	tag, err := Normalize(ref)
	if err != nil {
		return Model{}, err
	}
	info, raw, err := model.Read(ctx, src, desc)
	if err == nil {
		err = checkWeights(info)
	}
	if err != nil {
		return Model{}, fmt.Errorf("model %s: %w", tag, err)
	}
	unlock, err := s.begun(ctx, events)
	if err != nil {
		return Model{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	before, err := s.readIndex() // before gigabytes move
	if err != nil {
		return Model{}, err
	}
	manifest, err := bundle.ParseManifest(raw.Manifest)
	if err != nil {
		return Model{}, err
	}
	p := pulled{desc.Digest, tag, manifest, raw}
	if err := diskspace.Check(s.dir, s.lacks(p.blobs())); err != nil { // before gigabytes move
		return Model{}, fmt.Errorf("model %s: %w", tag, err)
	}
	if err := s.place(ctx, src, p, events); err != nil {
		need := s.lacks(p.blobs()) + int64(len(raw.Manifest))
		return Model{}, fmt.Errorf("model %s: %w", tag, diskspace.Explain(err, s.dir, need))
	}
	if err := s.enlist(ctx, p, before, events); err != nil {
		return Model{}, err
	}
	// Another program may have removed a model that shared files with this one
	// while it was pulled. Now that models.json names them, they stay.
	if s.incomplete(p) {
		note(events, "files of %s were removed meanwhile; fetching them again", tag)
		if err := s.place(ctx, src, p, events); err != nil {
			return Model{}, fmt.Errorf("model %s: %w", tag, err)
		}
	}
	before.tellNameless(desc.Digest, tag, events)
	return s.Find(tag) //nolint:contextcheck // reads files; nothing in it waits
}

// pulled is a model on its way into the store.
type pulled struct {
	id       digest.Digest
	tag      string
	manifest *ocispec.Manifest
	raw      model.Raw
}

// blobs are all that the model consists of, in the order of models.json.
func (p pulled) blobs() []bundle.Descriptor {
	return append(slices.Clone(p.manifest.Layers), p.manifest.Config)
}

// enlist brings the model into models.json, which was before: by a daemon, or
// else by us.
func (s *Store) enlist(ctx context.Context, p pulled, before *index, events bundle.EventFunc) error {
	blobs := p.blobs()
	files := make([]string, len(blobs))
	for i, d := range blobs {
		files[i] = d.Digest.String()
	}
	if err := s.offer(ctx, p.id, p.tag, p.raw, events); err != nil {
		return err
	}
	if err := s.register(p.id, p.tag, files); err != nil || before.has(p.id, p.tag) {
		return err
	}
	return s.registerAgain(ctx, p.id, p.tag, files)
}

// tellNameless tells of the model from which another took its only name.
func (x *index) tellNameless(id digest.Digest, tag string, events bundle.EventFunc) {
	for _, e := range x.entries {
		if e.ID != id && e.hasTag(tag) && len(e.fullTags()) == 1 && bundle.CheckDigest(e.ID) == nil {
			short := e.ID.Encoded()[:12]
			note(events, "%s was model %s, which has no name now: 'metalrun rm %[2]s' removes it", tag, short)
		}
	}
}

// checkWeights refuses what no engine here could load before gigabytes move.
func checkWeights(info *model.Model) error {
	for _, f := range info.Files {
		if f.Kind == model.KindWeight && !strings.EqualFold(path.Ext(f.Path), ".safetensors") {
			return fmt.Errorf("%q: only safetensors run here; 'docker model pull' fetches it for what runs it: %w", f.Path, bundle.ErrInvalid)
		}
	}
	return nil
}

// place brings the files of a model into the store: its layers, then config and
// manifest, each unless a sound one is there.
func (s *Store) place(ctx context.Context, src bundle.Source, p pulled, events bundle.EventFunc) error {
	if err := s.fetchAll(ctx, src, p.manifest.Layers, events); err != nil {
		return err
	}
	config := p.manifest.Config
	if s.verify(ctx, config, "", nil) != nil {
		if err := fsatomic.WriteFile(s.blobPath(config.Digest), p.raw.Config, 0o644); err != nil {
			return err
		}
		if err := s.remember(config.Digest); err != nil {
			return err
		}
	}
	if _, err := s.manifest(p.id); err == nil {
		return nil
	}
	return fsatomic.WriteFile(s.manifestPath(p.id), p.raw.Manifest, 0o644)
}

// incomplete reports whether a file of a model is not there.
func (s *Store) incomplete(p pulled) bool {
	_, err := os.Lstat(s.manifestPath(p.id))
	return err != nil || slices.ContainsFunc(p.blobs(), func(d bundle.Descriptor) bool {
		_, ok := s.blobSize(d.Digest)
		return !ok
	})
}

// lacks is how many bytes of some blobs are still to come.
func (s *Store) lacks(blobs []bundle.Descriptor) (n int64) {
	seen := map[digest.Digest]bool{}
	for _, d := range blobs {
		have, ok := s.blobSize(d.Digest)
		if seen[d.Digest] || ok && have == d.Size {
			continue
		}
		seen[d.Digest] = true
		n += d.Size
		if info, err := os.Lstat(s.blobPath(d.Digest) + partialSuffix); err == nil {
			n -= min(info.Size(), d.Size)
		}
	}
	return n
}

// fetchAll brings every distinct layer into the store.
func (s *Store) fetchAll(ctx context.Context, src bundle.Source, layers []bundle.Descriptor, events bundle.EventFunc) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(bundle.DefaultParallel)
	seen := map[digest.Digest]bool{}
	for _, d := range layers {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		g.Go(func() error { return s.fetch(ctx, src, d, events) })
	}
	return g.Wait()
}

// register writes our entry and looks whether it stays: DMR takes no lock, so
// its own write may have begun before ours and end after it.
func (s *Store) register(id digest.Digest, tag string, files []string) error {
	return s.rewrite(
		func(x *index) bool { return x.has(id, tag) },
		func(x *index) ([]byte, error) { return x.put(id, tag, files) },
		fmt.Errorf("another program keeps dropping the entry of %s; stop it and pull again", tag))
}

// registerAgain looks a while later whether our entry is still there: a DMR
// that read models.json before it was written needs that long to write it back.
func (s *Store) registerAgain(ctx context.Context, id digest.Digest, tag string, files []string) error {
	timer := time.NewTimer(s.secondLook)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	if err := s.reached("registered"); err != nil {
		return err
	}
	return s.register(id, tag, files)
}

// has reports whether the model is there and alone has the tag.
func (x *index) has(id digest.Digest, tag string) bool {
	mine := false
	for _, e := range x.entries {
		if e.hasTag(tag) {
			if e.ID != id {
				return false
			}
			mine = true
		}
	}
	return mine
}
