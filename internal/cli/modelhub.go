// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"

	"github.com/metalpack/metalpack/bundle/hub"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/edge"
)

// isHub reports whether a word names a model on the Hugging Face hub. One that
// could be a directory, too, is the directory.
func isHub(word string) bool {
	_, err := os.Stat(word)
	return err != nil && hub.IsReference(word)
}

// modelOrigin is the place of a model that is no artifact yet: a directory, or
// a commit on the hub.
func (a *app) modelOrigin(ctx context.Context, word string) (model.Origin, error) {
	if !isHub(word) {
		return model.Dir(word), nil
	}
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
	return repo.Origin(), nil
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
