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
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
	"github.com/metalpack/metalpack/runtime"
)

// modelRow is one model of the store.
type modelRow struct {
	Name         string   `json:"name"`
	ID           string   `json:"id"`
	Tags         []string `json:"tags"`
	Architecture string   `json:"architecture,omitempty"`
	Parameters   string   `json:"parameters,omitempty"`
	Quantization string   `json:"quantization,omitempty"`
	Context      int64    `json:"context,omitempty"` // tokens
	Size         int64    `json:"size"`              // bytes
	Problem      string   `json:"problem,omitempty"`
}

func newModelRow(m modelstore.Model) modelRow {
	r := modelRow{Name: modelName(m), ID: m.ID.String(), Tags: m.Tags}
	if m.Problem != nil {
		r.Problem = m.Problem.Error()
	}
	if i := m.Info; i != nil {
		r.Architecture, r.Parameters, r.Quantization, r.Context, r.Size = i.Architecture, i.Parameters, i.Quantization, i.Context, i.Size()
		if err := i.CheckServable(); err != nil {
			r.Problem = err.Error()
		}
	}
	return r
}

// modelName is what lists and clients call a model.
func modelName(m modelstore.Model) string {
	if len(m.Tags) > 0 {
		return m.Tags[0]
	}
	return m.ID.String()
}

// shortID is how lists write the id of a model; an entry of a damaged list has
// none.
func shortID(m modelstore.Model) string {
	if m.ID == "" {
		return "-"
	}
	return m.ID.Encoded()[:12]
}

// store opens the shared model store.
func (a *app) store() (*modelstore.Store, error) {
	dir, err := modelstore.Dir(a.env.Getenv)
	if err != nil {
		return nil, err
	}
	state, err := a.stateDir("models")
	if err != nil {
		return nil, err
	}
	return modelstore.Open(dir, state)
}

// stateDir is a directory of ours in the home.
func (a *app) stateDir(name string) (string, error) {
	home, err := runtime.OpenHome(a.env.Getenv)
	if err != nil {
		return "", err
	}
	return filepath.Join(home.Dir, ".metalpack", name), nil
}

func (a *app) pullVerb() verb {
	var exclude multiFlag
	return verb{
		name: "pull", args: "REFERENCE", short: "pull a model into Docker's shared model store",
		long: "The model appears in 'docker model list' too. A pull that was cut goes on where it stopped.\n\n" +
			"hf.co/ORG/NAME[@REVISION] is a model of MLX safetensors on the Hugging Face hub; the list\n" +
			"calls it huggingface.co/org/name:latest, or by its revision. HF_TOKEN, or the token that\n" +
			"'hf auth login' keeps, opens gated and private models; HF_ENDPOINT is the address of\n" +
			"another hub.",
		example: "metalrun pull ai/smollm2:135m\n  metalrun pull hf.co/mlx-community/SmolLM2-135M-Instruct-4bit",
		flags: func(fs *flag.FlagSet) {
			fs.Var(&exclude, "exclude", "leave out files of a model on the hub that match this `pattern`; may be repeated")
		},
		run: func(ctx context.Context, args []string) error {
			if err := wantArgs("pull", args, "REFERENCE"); err != nil {
				return err
			}
			m, err := a.pull(ctx, args[0], exclude)
			if err != nil {
				return err
			}
			row := newModelRow(m)
			return a.result(row, fmt.Sprintf("%s  %s\n", row.Name, row.ID))
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
	ref, err := bundle.ParseSource(word, "ai")
	if err != nil {
		return none, edge.Errorf(edge.ErrUsage, "%w", err)
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
	return store.Pull(ctx, src, root, storeName(ref), a.events())
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

func (a *app) listVerb() verb {
	return verb{
		name: "list", short: "list the models in the store", example: "metalrun list",
		run: func(_ context.Context, args []string) error {
			if err := wantArgs("list", args); err != nil {
				return err
			}
			store, err := a.store()
			if err != nil {
				return err
			}
			models, err := store.List()
			if err != nil {
				return err
			}
			rows := make([]modelRow, 0, len(models))
			var text strings.Builder
			for _, m := range models {
				r := newModelRow(m)
				rows = append(rows, r)
				fmt.Fprintf(&text, "%s  %s  %s  %s  %s\n", r.Name, r.Parameters, r.Quantization, ui.Bytes(r.Size), shortID(m))
				if r.Problem != "" {
					fmt.Fprintf(&text, "  cannot be served: %s\n", r.Problem)
				}
			}
			return a.result(rows, text.String())
		},
	}
}
