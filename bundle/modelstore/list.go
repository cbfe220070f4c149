// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// List returns all models, in the order of models.json. An entry that cannot
// be read is in the list with its Problem. A store that does not exist is
// empty. The error wraps [bundle.ErrInvalid] if models.json itself is damaged.
func (s *Store) List() ([]Model, error) {
	index, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	out := make([]Model, 0, len(index.entries))
	for _, e := range index.entries {
		out = append(out, s.load(e))
	}
	return out, nil
}

// Find returns the model that a name ([Normalize]) or an id, in full or its
// first 12 digits, stands for. A name with a digest means the model of that id,
// whatever the name means today. Errors: [bundle.ErrNotFound]; those of List;
// the model's Problem if it cannot be read.
func (s *Store) Find(nameOrID string) (Model, error) {
	index, err := s.readIndex()
	if err != nil {
		return Model{}, err
	}
	e, _, err := s.find(index, nameOrID)
	if err != nil {
		return Model{}, err
	}
	m := s.load(e)
	return m, m.Problem
}

// find returns the entry that a user's word stands for, and the normalised tag
// by which it does: "" if it is an id, or a digest behind another name.
func (s *Store) find(x *index, word string) (e entry, tag string, err error) {
	for _, e := range x.entries {
		if bundle.CheckDigest(e.ID) == nil && isID(word, e.ID) {
			return e, "", nil
		}
	}
	if tag, err = Normalize(word); err != nil {
		return entry{}, "", err
	}
	_, id, pinned := strings.Cut(strings.TrimSpace(word), "@")
	what := fmt.Sprintf("model %q (%s) in the store %s", word, tag, s.dir)
	for _, e := range x.entries {
		switch has := e.hasTag(tag); {
		case pinned && e.ID.String() == id && !x.named(e.ID, tag):
			return e, "", nil
		case pinned && e.ID.String() == id, !pinned && has:
			return e, tag, nil
		case has:
			what = fmt.Sprintf("model %q: %s is %s now", word, tag, e.ID)
		}
	}
	return entry{}, "", fmt.Errorf("%s: %w", what, bundle.ErrNotFound)
}

// named reports whether a model, whose entry may be there twice, has a tag.
func (x *index) named(id digest.Digest, tag string) bool {
	return (entry{Tags: x.tagsOf(id)}).hasTag(tag)
}

// hasTag compares normalised tags; what does not parse matches nothing.
func (e entry) hasTag(want string) bool { return len(e.tagsWithout(want)) < len(e.Tags) }

// tagsWithout are the tags but those that mean the given one.
func (e entry) tagsWithout(tag string) []string {
	return slices.DeleteFunc(slices.Clone(e.Tags), func(t string) bool {
		full, err := Normalize(t)
		return err == nil && full == tag
	})
}

// fullTags are the tags, fully qualified where they can be.
func (e entry) fullTags() (out []string) {
	seen := map[string]bool{}
	for _, t := range e.Tags {
		if full, err := Normalize(t); err == nil {
			t = full
		}
		if !seen[t] {
			out = append(out, t)
		}
		seen[t] = true
	}
	return out
}

// load reads manifest and config of an entry.
func (s *Store) load(e entry) Model {
	m := Model{ID: e.ID}
	m.Tags = e.fullTags()
	if m.Problem = bundle.CheckDigest(e.ID); m.Problem != nil {
		m.ID = ""
		return m
	}
	m.Info, m.Problem = s.read(e.ID)
	switch {
	case errors.Is(m.Problem, bundle.ErrMismatch), errors.Is(m.Problem, bundle.ErrNotFound):
		m.Problem = &DamagedError{Model: m.label(), Path: "its manifest or config", Err: m.Problem}
	case m.Problem != nil:
		m.Problem = fmt.Errorf("model %s: %w", m.label(), m.Problem)
	}
	return m
}

// label is [Model.label] of an entry, whatever its id is.
func (e entry) label() string {
	m := Model{Tags: e.fullTags()}
	if bundle.CheckDigest(e.ID) == nil {
		m.ID = e.ID
	}
	return m.label()
}

// label names a model in messages: its first tag, or its short id.
func (m Model) label() string {
	if len(m.Tags) > 0 {
		return m.Tags[0]
	}
	if m.ID == "" {
		return "without an id"
	}
	return m.ID.Encoded()[:12]
}

func (s *Store) read(id digest.Digest) (*model.Model, error) {
	desc, err := s.describe(id)
	if err != nil {
		return nil, err
	}
	m, _, err := model.Read(context.Background(), storeSource{s}, desc)
	return m, err
}

// manifest reads the manifest of a model alone.
func (s *Store) manifest(id digest.Digest) (*ocispec.Manifest, error) {
	if err := bundle.CheckDigest(id); err != nil {
		return nil, err
	}
	desc, err := s.describe(id)
	if err != nil {
		return nil, err
	}
	data, err := s.manifestBytes(desc)
	if err != nil {
		return nil, err
	}
	return bundle.ParseManifest(data)
}

func (s *Store) manifestBytes(desc bundle.Descriptor) (data []byte, err error) {
	f, err := openRegular(s.manifestPath(desc.Digest))
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, f)
	return bundle.ReadVerified(f, desc)
}

// describe is the descriptor of a manifest that is in the store.
func (s *Store) describe(id digest.Digest) (bundle.Descriptor, error) {
	path := s.manifestPath(id)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bundle.Descriptor{}, fmt.Errorf("manifest %s: %w", path, bundle.ErrNotFound)
	case err != nil:
		return bundle.Descriptor{}, err
	case info.Size() > bundle.MaxManifest:
		return bundle.Descriptor{}, fmt.Errorf("manifest %s: %d bytes: %w", path, info.Size(), bundle.ErrInvalid)
	}
	return bundle.Descriptor{MediaType: bundle.MediaTypeManifest, Digest: id, Size: info.Size()}, nil
}

// storeSource reads from the store; nothing in it waits.
type storeSource struct{ s *Store }

func (src storeSource) Resolve(context.Context, string) (bundle.Descriptor, error) {
	return bundle.Descriptor{}, bundle.ErrNotFound
}

func (src storeSource) Manifest(_ context.Context, desc bundle.Descriptor) ([]byte, error) {
	return src.s.manifestBytes(desc)
}

func (src storeSource) Open(_ context.Context, desc bundle.Descriptor, offset int64) (io.ReadCloser, error) {
	f, err := openRegular(src.s.blobPath(desc.Digest))
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (src storeSource) Referrers(context.Context, bundle.Descriptor) ([]bundle.Descriptor, error) {
	return nil, nil
}

// openRegular opens a file of the store and refuses links and everything that
// is not a file, of which some would block.
func openRegular(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, bundle.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file: %w", path, bundle.ErrInvalid)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(info, opened) {
		err = fmt.Errorf("%s: replaced while it was opened: %w", path, bundle.ErrInvalid)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readIndex reads models.json; a store without one is empty.
func (s *Store) readIndex() (idx *index, err error) {
	path := s.indexPath()
	f, err := openRegular(path)
	if errors.Is(err, bundle.ErrNotFound) {
		return parseIndex(nil)
	}
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, f)
	data, err := io.ReadAll(io.LimitReader(f, maxIndex+1))
	if err != nil {
		return nil, err
	}
	if idx, err = parseIndex(data); err != nil {
		return nil, fmt.Errorf("%s is damaged, and Docker Model Runner cannot read it either; move it away and pull the models again, their blobs stay: %w", path, err)
	}
	return idx, nil
}
