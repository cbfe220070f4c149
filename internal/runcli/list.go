// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
	"github.com/metalpack/metalpack/runtime"
)

// listedModel is a model with what serves it here.
type listedModel struct {
	modelRow
	ServedBy []string `json:"servedBy"` // see engines
}

func (a *app) listVerb() verb {
	return verb{
		name: "list", short: "list the models in the store",
		long:    "SIZE is what a model has on the disk; the last line counts what several have in common\nonce. ID is that of 'docker model list', and a name too. 'metalrun inspect MODEL' tells more\nof one.",
		example: "metalrun list",
		run: func(_ context.Context, args []string) error {
			if err := edge.WantArgs("list", args); err != nil {
				return err
			}
			return a.runList()
		},
	}
}

func (a *app) runList() error {
	store, err := a.store()
	if err != nil {
		return err
	}
	usage, err := store.Usage()
	if err != nil {
		return err
	}
	served, why, err := a.engines()
	if err != nil {
		return err
	}
	byName := make(map[string]*listedModel, len(usage.Models))
	for i, m := range usage.Models {
		r := newListedModel(newModelRow(m.Model), served)
		r.Size = m.Blobs.Bytes
		if m.Missing > 0 && r.Problem == "" {
			r.Problem, r.ServedBy = missing(m.Missing, r.Name), []string{}
		}
		byName[fmt.Sprint(r.Name, " ", r.ID, " ", i)] = r
	}
	all := make([]*listedModel, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[name])
	}
	if len(all) == 0 {
		a.Note("no models in %s: 'metalrun pull REFERENCE' brings one", store.Path())
		return a.Result(all, "")
	}
	if why != "" {
		a.Note("nothing here can serve: %s", why)
	}
	return a.Result(all, a.listText(all)+fmt.Sprintf("%s, %s on disk\n", ui.Plural(len(all), "model"), ui.Bytes(usage.Used.Bytes)))
}

// missing says that files of a model are not there, and what to do.
func missing(n int, name string) string {
	return fmt.Sprintf("%s missing: 'metalrun verify --repair %s' fetches what is", ui.Plural(n, "file"), name)
}

func newListedModel(r modelRow, served []string) *listedModel {
	if r.Problem != "" {
		served = []string{}
	}
	return &listedModel{r, served}
}

// by says in a few words what serves a model, or why nothing does.
func (m *listedModel) by() string {
	switch {
	case m.Problem != "":
		return "cannot be served: " + m.Problem
	case len(m.ServedBy) == 0:
		return "-"
	}
	return strings.Join(m.ServedBy, ", ")
}

func (a *app) listText(all []*listedModel) string {
	rows := ui.Rows{{"NAME", "ID", "FORMAT", "PARAMS", "QUANT", "CONTEXT", "SIZE", "SERVED BY"}}
	for _, m := range all {
		tokens := ""
		if m.Context > 0 {
			tokens = strconv.FormatInt(m.Context, 10)
		}
		rows.Add(shownName(m.Name, m.ID), shortID(m.ID), m.Format, m.Parameters, m.Quantization, tokens, ui.Bytes(m.Size), m.by())
		for _, tag := range m.Tags[min(1, len(m.Tags)):] {
			rows.Add(tag, "", "", "", "", "", "", "another name of "+m.Name)
		}
	}
	return a.Table("lllrlrrl", rows)
}

// engines names what is installed that a model can be served by: an environment
// as such, or environment/profile where --engine must choose. why says what is
// the matter when there is nothing.
func (a *app) engines() (names []string, why string, err error) {
	names = []string{}
	home, err := runtime.OpenHome(a.Env.Getenv)
	if err != nil {
		return names, "", err
	}
	all, err := home.Status()
	if err != nil {
		return names, "", err
	}
	problems := make([]string, 0, len(all))
	for _, s := range all {
		if s.Active == nil {
			problems = append(problems, fmt.Sprintf("%s has no active version: %v", s.Name, s.Problem))
			continue
		}
		profile, err := pickProfile(s.Active.Env, "")
		switch {
		case errors.Is(err, edge.ErrUsage):
			for _, p := range slices.Sorted(maps.Keys(s.Active.Env.Launch)) {
				names = append(names, s.Name+"/"+p)
			}
		case err != nil:
			problems = append(problems, err.Error())
		case profile == s.Name:
			names = append(names, s.Name)
		default:
			names = append(names, s.Name+"/"+profile)
		}
	}
	switch {
	case len(names) > 0:
		return names, "", nil
	case len(problems) > 0:
		return names, strings.Join(problems, "; "), nil
	}
	return names, "no environment is installed: metalrun install " + defaultEnvironment(), nil
}
