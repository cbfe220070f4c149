// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/bundle/modelstore"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
)

// inspected is the result of inspect.
type inspected struct {
	*listedModel
	Model  *model.Model                    `json:"model"`
	States map[string]modelstore.BlobState `json:"states"` // of the model's files, by path
	Own    int64                           `json:"own"`    // bytes that go with the model
	Shared []modelstore.Shared             `json:"shared"`

	unserved string // why nothing here can serve it
}

func (a *app) inspectVerb() verb {
	return verb{
		name: "inspect", args: "MODEL", short: "show what a model of the store is, and its files",
		long:    "MODEL is a name of 'metalrun list', or an id. Nothing is hashed: a file is 'verified' if it\nwas hashed before and has not changed since; 'metalrun verify MODEL' hashes the others.",
		example: "metalrun inspect ai/smollm2",
		run: func(_ context.Context, args []string) error {
			if err := edge.WantArgs("inspect", args, "MODEL"); err != nil {
				return err
			}
			out, err := a.inspect(args[0])
			if err != nil {
				return err
			}
			return a.Result(out, out.text(a.Table))
		},
	}
}

func (a *app) inspect(word string) (inspected, error) {
	var out inspected
	store, err := a.store()
	if err != nil {
		return out, err
	}
	m, err := find(store, word)
	if err != nil {
		return out, err
	}
	served, why, err := a.engines()
	if err != nil {
		return out, err
	}
	out = inspected{listedModel: newListedModel(newModelRow(m), served), Model: m.Info, States: map[string]modelstore.BlobState{}, unserved: why}
	for _, f := range m.Info.Files {
		out.States[f.Path] = store.State(f.Descriptor)
	}
	usage, err := store.Usage()
	if err != nil {
		return out, err
	}
	for _, u := range usage.Models {
		if u.ID == m.ID {
			out.Size, out.Own = u.Blobs.Bytes, u.Own.Bytes
		}
	}
	out.Shared, err = store.Shared(m)
	if out.Shared == nil {
		out.Shared = []modelstore.Shared{} // an empty list in JSON, not null
	}
	return out, err
}

// text leaves out what the model does not say.
func (o *inspected) text(table ui.TableFunc) string {
	m := o.Model
	var rows ui.Rows
	row := func(name, value string) {
		if value != "" {
			rows.Add(name, strings.ReplaceAll(value, "\n", " "))
		}
	}
	row("also called", strings.Join(o.Tags[min(1, len(o.Tags)):], ", "))
	row("id", o.ID)
	row("format", strings.TrimSuffix(string(m.Flavor)+", "+m.Format, ", "))
	row("architecture", m.Architecture)
	row("parameters", m.Parameters)
	row("quantization", m.Quantization)
	if m.Context > 0 {
		row("context", strconv.FormatInt(m.Context, 10))
	}
	row("description", m.Description)
	row("licence", m.License)
	row("base model", m.BaseModel)
	row("source", m.Source)
	row("revision", m.Revision)
	row("tool parser", m.ToolParser)
	row("reasoning parser", m.ReasoningParser)
	row("allowed", strings.Join(m.Allow, ", "))
	row("on disk", o.disk())
	for _, s := range o.Shared {
		row("shares", fmt.Sprintf("%s, %s, with %s", ui.Plural(s.Files, "file"), ui.Bytes(s.Bytes), s.With))
	}
	served := o.by()
	if served == "-" {
		served = "nothing: " + o.unserved
	}
	row("served by", served)
	return o.Name + "\n" + table("ll", rows) + "\n" + o.files(table)
}

// disk sums up the states of the files.
func (o *inspected) disk() string {
	counts := map[modelstore.BlobState]int{}
	for _, s := range o.States {
		counts[s]++
	}
	var parts []string
	for _, s := range []modelstore.BlobState{modelstore.BlobVerified, modelstore.BlobThere, modelstore.BlobDamaged, modelstore.BlobMissing} {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	text := fmt.Sprintf("%s, %s of its own; %s", ui.Bytes(o.Size), ui.Bytes(o.Own), strings.Join(parts, ", "))
	if counts[modelstore.BlobDamaged]+counts[modelstore.BlobMissing] > 0 {
		text += fmt.Sprintf(": 'metalrun verify --repair %s' mends it", o.Name)
	}
	return text
}

func (o *inspected) files(table ui.TableFunc) string {
	rows := ui.Rows{{"FILE", "KIND", "SIZE", "STATE", "DIGEST"}}
	for _, f := range o.Model.Files {
		rows.Add(f.Path, string(f.Kind), ui.Bytes(f.Descriptor.Size), string(o.States[f.Path]), f.Descriptor.Digest.String())
	}
	for _, l := range o.Model.Archives {
		rows.Add("(archive)", string(l.Kind), ui.Bytes(l.Descriptor.Size), "", l.Descriptor.Digest.String())
	}
	return table("llrld", rows)
}
