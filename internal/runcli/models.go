// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
	"github.com/metalpack/metalpack/bundle/modelstore"
	"github.com/metalpack/metalpack/bundle/transports"
	"github.com/metalpack/metalpack/internal/diskspace"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/runtime"
)

// modelRow is one model of the store.
type modelRow struct {
	Name         string   `json:"name"`
	ID           string   `json:"id"`
	Tags         []string `json:"tags"`
	Format       string   `json:"format,omitempty"` // modelpack, docker, docker-v0.1
	Architecture string   `json:"architecture,omitempty"`
	Parameters   string   `json:"parameters,omitempty"`
	Quantization string   `json:"quantization,omitempty"`
	Context      int64    `json:"context,omitempty"` // tokens
	Size         int64    `json:"size"`              // bytes
	Problem      string   `json:"problem,omitempty"` // why no engine can be started on it
}

func newModelRow(m modelstore.Model) modelRow {
	r := modelRow{Name: modelName(m), ID: m.ID.String(), Tags: append([]string{}, m.Tags...)} // empty lists in JSON, not null
	if m.Problem != nil {
		r.Problem = problem(m.Problem, r.Name)
	}
	if i := m.Info; i != nil {
		r.Format, r.Architecture, r.Parameters = string(i.Flavor), i.Architecture, i.Parameters
		r.Quantization, r.Context, r.Size = i.Quantization, i.Context, i.Size()
		if err := i.CheckServable(); err != nil {
			r.Problem = problem(err, r.Name)
		}
	}
	return r
}

// problem says what is wrong with a model beside its name.
func problem(err error, name string) string {
	return strings.TrimPrefix(strings.TrimSuffix(err.Error(), ": "+bundle.ErrInvalid.Error()), "model "+name+": ")
}

// modelName is what lists and clients call a model.
func modelName(m modelstore.Model) string {
	if len(m.Tags) > 0 {
		return m.Tags[0]
	}
	return m.ID.String()
}

// shownName is what a person is shown for a model in a list: its id, as short as
// 'docker model list' writes it, if it has no name.
func shownName(name, id string) string {
	switch name {
	case "":
		return "<none>"
	case id:
		return shortID(id)
	}
	return name
}

// shortID is the beginning of an id, enough to call a model by.
func shortID(id string) string {
	hex := strings.TrimPrefix(id, "sha256:")
	return hex[:min(12, len(hex))]
}

// store opens the shared model store.
func (a *app) store() (*modelstore.Store, error) {
	dir, err := modelstore.Dir(a.Env.Getenv)
	if err != nil {
		return nil, err
	}
	state, err := a.stateDir("models")
	if err != nil {
		return nil, err
	}
	store, err := modelstore.Open(dir, state)
	if err == nil {
		store.Daemons = modelstore.Daemons(a.Env.Getenv)
	}
	return store, err
}

// find is the model that a user calls word. A model that cannot be read comes
// with the reason.
func find(store *modelstore.Store, word string) (modelstore.Model, error) {
	name, err := localName(word)
	if err != nil {
		return modelstore.Model{}, err
	}
	m, err := store.Find(name)
	return m, suggest(store, word, err)
}

// suggest adds to the error of a name that the store does not have those that
// were perhaps meant.
func suggest(store *modelstore.Store, word string, err error) error {
	if !errors.Is(err, bundle.ErrNotFound) || edge.Hinted(err) {
		return err
	}
	models, lerr := store.List()
	near := modelstore.Near(models, word)
	if lerr != nil || len(near) == 0 {
		return edge.WithHint(err, "'metalrun list' shows what is there")
	}
	return edge.WithHint(err, "did you mean %s? 'metalrun list' shows all", strings.Join(near, " or "))
}

// suggestHere is suggest for a name that cannot be pulled either: no registry
// has it, or none says so, as Docker Hub never does.
func suggestHere(store *modelstore.Store, word string, err error) error {
	if !errors.Is(err, bundle.ErrNotFound) && !errors.Is(err, bundle.ErrUnauthorized) && !errors.Is(err, bundle.ErrUnreachable) {
		return err
	}
	models, lerr := store.List()
	if near := modelstore.Near(models, word); lerr == nil && len(near) > 0 {
		return edge.WithHint(err, "did you mean %s, of those that are here?", strings.Join(near, " or "))
	}
	return err
}

// stateDir is a directory of ours in the home.
func (a *app) stateDir(name string) (string, error) {
	home, err := runtime.OpenHome(a.Env.Getenv)
	if err != nil {
		return "", err
	}
	return filepath.Join(home.Dir, ".metalpack", name), nil
}

func (a *app) pullVerb() verb {
	var exclude multiFlag
	return verb{
		name: "pull", remote: true, args: "REFERENCE", short: "pull a model into Docker's shared model store",
		long: "The store is MODELS_PATH, else ~/.docker/models, which Docker Desktop uses too: the model\n" +
			"appears in 'docker model list'. A pull that was cut goes on where it stopped.\n\n" +
			"A Docker Model Runner that answers, at MODEL_RUNNER_HOST (an address on https needs a\n" +
			"certificate that the system trusts), at the socket MODEL_RUNNER_SOCK, in Docker Desktop or\n" +
			"at localhost:12434, registers the model itself; without one the list of the store is written.\n" +
			"Docker's contexts, those of 'docker model context', DOCKER_HOST and MODEL_RUNNER_TLS are not\n" +
			"read: most of what they lead to has a store of its own. So has the container of Docker Engine\n" +
			"on Linux, whose 'docker model list' does not show what is pulled here.\n\n" +
			"hf.co/ORG/NAME[@REVISION] is a model of MLX safetensors on the Hugging Face hub; the list\n" +
			"calls it huggingface.co/org/name:latest, or by its revision. HF_TOKEN, or the token that\n" +
			"'hf auth login' keeps, opens gated and private models; HF_ENDPOINT is the address of\n" +
			"another hub.",
		example: "metalrun pull ai/smollm2:135m\n  metalrun pull hf.co/mlx-community/SmolLM2-135M-Instruct-4bit",
		flags: func(fs *flag.FlagSet) {
			fs.Var(&exclude, "exclude", "leave out files of a model on the hub that match this `pattern`; may be repeated")
		},
		run: func(ctx context.Context, args []string) error {
			if err := edge.WantArgs("pull", args, "REFERENCE"); err != nil {
				return err
			}
			m, err := a.pull(ctx, args[0], exclude)
			if err != nil {
				return err
			}
			row := newModelRow(m)
			return a.Result(row, fmt.Sprintf("%s  %s\n", row.Name, row.ID))
		},
	}
}

// pull fetches the model that word names. Of one on the hub it leaves out what
// exclude matches; an artifact is pulled as it is.
func (a *app) pull(ctx context.Context, word string, exclude []string) (_ modelstore.Model, err error) {
	none := modelstore.Model{}
	switch {
	case hub.IsReference(word):
		return a.pullHub(ctx, word, exclude)
	case len(exclude) > 0:
		return none, edge.Usagef("pull: --exclude is for models on the hub, like hf.co/org/name; %s is an artifact already", word)
	}
	ref, err := parseSource(word, "ai")
	if err != nil {
		return none, err
	}
	store, err := a.store()
	if err != nil {
		return none, err
	}
	src, closeSource, err := transports.OpenSource(ref, a.remote())
	if err != nil {
		return none, err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	root, err := src.Resolve(ctx, ref.Name())
	if err != nil {
		return none, sourceError(ref, err)
	}
	if root.MediaType == bundle.MediaTypeIndex {
		return none, edge.WithHint(fmt.Errorf("%s is an index, want the manifest of a model: %w", ref, bundle.ErrInvalid),
			"if it is an environment: 'metalrun install %s'", ref)
	}
	return a.pullInto(ctx, store, src, root, storeName(ref))
}

// parseSource reads the reference of what is to be fetched. Who writes a path is
// told how that is said.
func parseSource(word, org string) (bundle.Reference, error) {
	ref, err := bundle.ParseSource(word, org)
	if err == nil {
		return ref, nil
	}
	err = edge.Errorf(edge.ErrUsage, "%w", err)
	if filepath.IsAbs(word) || strings.HasPrefix(word, ".") {
		err = edge.WithHint(err, "an OCI layout is written oci:%[1]s:TAG, an archive oci-archive:%[1]s", strings.TrimRight(word, "/"))
	}
	return ref, err
}

// pullInto pulls a model under a name, and tells of one that does not come to
// its end what the user can do.
func (a *app) pullInto(ctx context.Context, store *modelstore.Store, src bundle.Source, desc bundle.Descriptor, name string) (modelstore.Model, error) {
	m, err := store.Pull(ctx, src, desc, name, a.Events())
	if _, full := errors.AsType[*diskspace.Error](err); full {
		return m, edge.WithHint(err, "make room: 'metalrun df' tells what takes it, 'metalrun rm --unused' removes what no model uses; what came is kept")
	}
	if err != nil && ctx.Err() != nil {
		a.Note("what came is kept, and the same pull goes on there; 'metalrun rm --unused' removes it")
	}
	return m, err
}

// sourceError adds to the error of a registry that does not have what ref names
// what the user can look at.
func sourceError(ref bundle.Reference, err error) error {
	if ref.Transport != bundle.TransportDocker || !errors.Is(err, bundle.ErrNotFound) {
		return err
	}
	return edge.WithHint(err, "check the spelling of %s; some registries say this of what is private: then 'docker login %s'", ref, ref.Registry)
}

// storeName is the name a model gets in the store: that of its registry, or,
// from a layout or archive, the directory's or file's.
func storeName(ref bundle.Reference) string {
	if ref.Transport == bundle.TransportDocker {
		ref.Digest = ""
		return ref.String()
	}
	name := strings.TrimSuffix(strings.ToLower(filepath.Base(ref.Path)), ".tar")
	if ref.Tag != "" {
		name += ":" + ref.Tag
	}
	return name
}
