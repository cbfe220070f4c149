// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/filestamp"
)

// modelOrigin is the place that a model is built from: a directory, a snapshot
// of the hub's cache, a commit on the hub, or an artifact. Close it after use.
func (a *app) modelOrigin(ctx context.Context, word string) (_ model.Origin, closeOrigin func() error, err error) {
	none := func() error { return nil }
	if isHub(word) {
		repo, err := a.openHub(ctx, word)
		if err != nil {
			return nil, nil, err
		}
		return repo.Origin(), none, nil
	}
	if isArtifact(word) {
		return a.artifactOrigin(ctx, word)
	}
	snapshot, err := hub.OpenSnapshot(word)
	switch {
	case err == nil:
		return snapshot.Origin(a.Events()), snapshot.Close, nil
	case errors.Is(err, hub.ErrNoSnapshot):
		return model.Dir(word, a.digests()), none, nil
	case errors.Is(err, bundle.ErrNotFound) && !exists(word):
		err = fmt.Errorf("model directory %s: %w", word, bundle.ErrNotFound)
		if !isPath(word) {
			hint := "a model in a registry is written docker://" + word
			if _, bad := hub.ParseReference("hf.co/" + word); bad == nil {
				hint = fmt.Sprintf("a model on the hub is written hf.co/%s, one in a registry docker://%s", word, word)
			}
			err = edge.WithHint(err, "%s", hint)
		}
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

// artifactOrigin is a model that was built before.
func (a *app) artifactOrigin(ctx context.Context, word string) (model.Origin, func() error, error) {
	src, root, ref, closeSource, err := a.openModel(ctx, word)
	if err != nil {
		return nil, nil, err
	}
	m, _, err := model.Read(ctx, src, root)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("model %s: %w", ref, err), closeSource())
	}
	return model.Stored(src, m), closeSource, nil
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
		a.Note("%s is private: mind who can read a copy", repo.Name())
	case access.Gated:
		a.Note("%s is gated: its terms hold for copies too", repo.Name())
	}
	return repo, nil
}

// hub returns how the Hugging Face hub is spoken to.
func (a *app) hub() (*hub.Client, error) {
	c, err := hub.Environment(a.Env.Getenv)
	if err != nil {
		return nil, err
	}
	c.CAFile, c.Events = a.registry.CAFile, a.Events()
	return c, nil
}
