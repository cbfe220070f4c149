// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/filestamp"
)

// isHub reports whether a word names a model on the Hugging Face hub. One that
// could be a directory, too, is the directory.
func isHub(word string) bool {
	return hub.IsReference(word) && !exists(word)
}

// modelOrigin is the place of a model that is no artifact yet: a directory, a
// snapshot of the hub's cache, or a commit on the hub. Close it after use.
func (a *app) modelOrigin(ctx context.Context, word string) (_ model.Origin, closeOrigin func() error, err error) {
	none := func() error { return nil }
	if isHub(word) {
		repo, err := a.openHub(ctx, word)
		if err != nil {
			return nil, nil, err
		}
		return repo.Origin(), none, nil
	}
	snapshot, err := hub.OpenSnapshot(word)
	switch {
	case err == nil:
		return snapshot.Origin(a.events()), snapshot.Close, nil
	case errors.Is(err, hub.ErrNoSnapshot), errors.Is(err, bundle.ErrNotFound) && !exists(word):
		return model.Dir(word, a.digests()), none, nil
	}
	return nil, nil, err
}

// digests remembers what model files hash to; nil where there is no cache.
func (a *app) digests() model.Memo {
	dir, err := a.cache(digestDir)
	if err != nil {
		return nil
	}
	return filestamp.NewMemo(dir, time.Now())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// openHub pins the revision of a model on the hub.
func (a *app) openHub(ctx context.Context, word string) (*hub.Repo, error) {
	ref, err := hub.ParseReference(word)
	if err != nil {
		return nil, edge.Errorf(edge.ErrUsage, "%w", err)
	}
	client, err := a.hub()
	if err != nil {
		return nil, err
	}
	repo, err := client.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	switch access := repo.Access(); {
	case access.Private:
		a.note("%s is private: mind who can read a copy", repo.Name())
	case access.Gated:
		a.note("%s is gated: its terms hold for copies too", repo.Name())
	}
	return repo, nil
}

// hub returns how the Hugging Face hub is spoken to.
func (a *app) hub() (*hub.Client, error) {
	c, err := hub.Environment(a.env.Getenv)
	if err != nil {
		return nil, err
	}
	c.CAFile, c.Events = a.caFile, a.events()
	return c, nil
}
