// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/bundle/modelstore"
	"github.com/metalpack/metalpack/internal/edge"
)

// latest is the tag of what was pulled without a revision.
const latest = "latest"

// hubReference reads the name of a model on the Hugging Face hub. Lists call
// such a model huggingface.co/org/name:TAG, so a tag is taken for the revision
// that it is made of.
func hubReference(word string) (hub.Reference, error) {
	if i := strings.LastIndexByte(word, ':'); i > strings.LastIndexByte(word, '/') && !strings.Contains(word, "@") {
		repo, tag := word[:i], word[i+1:]
		if word = repo; tag != latest {
			word += "@" + tag
		}
	}
	ref, err := hub.ParseReference(word)
	if err != nil {
		return ref, edge.Errorf(edge.ErrUsage, "%w", err)
	}
	return ref, nil
}

// notTag is what a revision may hold and a tag may not.
var notTag = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// hubTag is the name of a model of the hub in the store: latest, as Docker
// Model Runner gives it, or the revision, so that a pinned model takes the name
// from no other.
func hubTag(ref hub.Reference) string {
	tag := latest
	if ref.Revision != "" {
		tag = notTag.ReplaceAllString(ref.Revision, "-")
		tag = tag[:min(len(tag), 128)] // what a tag can hold
	}
	return hub.Reference{Repo: ref.Repo}.String() + ":" + tag
}

// localName is the name by which the store knows what a user calls word.
func localName(word string) (string, error) {
	if !hub.IsReference(word) {
		if _, err := modelstore.Normalize(word); err != nil {
			return "", edge.Errorf(edge.ErrUsage, "%w", err)
		}
		return word, nil
	}
	ref, err := hubReference(word)
	if err != nil {
		return "", err
	}
	return modelstore.Normalize(hubTag(ref))
}

// pullHub builds the artifact of a model on the hub into the store, without the
// files that exclude matches.
func (a *app) pullHub(ctx context.Context, word string, exclude []string) (modelstore.Model, error) {
	none := modelstore.Model{}
	ref, err := hubReference(word)
	if err != nil {
		return none, err
	}
	store, err := a.store()
	if err != nil {
		return none, err
	}
	ref.Repo = spelled(store, ref)
	repo, err := a.openHub(ctx, ref)
	if err != nil {
		return none, err
	}
	art, err := model.Build(ctx, repo.Origin(), model.Options{Exclude: exclude, Events: a.Events()})
	if lint, ok := errors.AsType[*model.LintError](err); ok {
		return none, edge.WithHint(lint, "leave files out with 'metalrun pull %s --exclude PATTERN', or look for another conversion of the model", word)
	}
	if err != nil {
		return none, err
	}
	return a.pullInto(ctx, store, art, art.Root(), hubTag(ref))
}

// openHub pins a model on the hub to a commit.
func (a *app) openHub(ctx context.Context, ref hub.Reference) (*hub.Repo, error) {
	client, err := hub.Environment(a.Env.Getenv)
	if err != nil {
		return nil, err
	}
	client.CAFile, client.Events = a.registry.CAFile, a.Events()
	return client.Open(ctx, ref)
}

// hubFiles are the files of a model of the store where it came from: on the
// hub, at the commit that it was made of.
type hubFiles struct {
	origin model.Origin
	files  []model.File
}

// openHubFiles finds them by one of the model's tags.
func (a *app) openHubFiles(ctx context.Context, store *modelstore.Store, m modelstore.Model, tag string) (*hubFiles, error) {
	ref, err := hubReference(tag)
	if err != nil {
		return nil, err
	}
	ref.Repo = spelled(store, ref)
	if strings.HasSuffix(m.Info.Source, "/"+ref.Repo) && m.Info.Revision != "" {
		ref.Revision = m.Info.Revision
	}
	repo, err := a.openHub(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &hubFiles{repo.Origin(), m.Info.Files}, nil
}

// Open implements [modelstore.Opener].
func (h *hubFiles) Open(ctx context.Context, desc bundle.Descriptor, offset int64) (io.ReadCloser, error) {
	for _, f := range h.files {
		if f.Descriptor.Digest == desc.Digest {
			return h.origin.Open(ctx, f.Path, offset)
		}
	}
	return nil, edge.Errorf(bundle.ErrNotFound, "%s: no file of the model", desc.Digest)
}

// spelled is the repository as the hub spells it, where an earlier pull has
// noted that: tags are in lower case.
func spelled(store *modelstore.Store, ref hub.Reference) string {
	m, err := store.Find(hubTag(ref))
	if err != nil {
		return ref.Repo
	}
	source := m.Info.Source
	if i := len(source) - len(ref.Repo); i > 0 && strings.EqualFold(source[i:], ref.Repo) {
		return source[i:]
	}
	return ref.Repo
}
