// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/metalpack/metalpack/bundle/modelstore"
	"github.com/metalpack/metalpack/internal/diskspace"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
	"github.com/metalpack/metalpack/runtime"
)

// usage is the result of df. All sizes are in bytes.
type usage struct {
	Store        string             `json:"store"`
	Models       []modelUsage       `json:"models"`
	Used         modelstore.Amount  `json:"used"`         // by models, each file once
	Shared       modelstore.Amount  `json:"shared"`       // of that, by several
	Unreferenced modelstore.Amount  `json:"unreferenced"` // by no model
	Partial      modelstore.Amount  `json:"partial"`      // downloads that did not end
	Other        modelstore.Amount  `json:"other"`        // small files in directories of links, DMR's and ours
	StoreFree    int64              `json:"storeFree"`
	Home         string             `json:"home"`
	Environments []environmentUsage `json:"environments"`
	Unfinished   int64              `json:"unfinished"` // left of installs
	HomeFree     int64              `json:"homeFree"`
}

// modelUsage is what one model takes.
type modelUsage struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Files   int    `json:"files"`
	Size    int64  `json:"size"`
	Own     int64  `json:"own"`               // of that, what no other model uses
	Missing int    `json:"missing"`           // files that are not there
	Problem string `json:"problem,omitempty"` // why it cannot be read
}

// environmentUsage is what one environment takes.
type environmentUsage struct {
	Name     string         `json:"name"`
	Size     int64          `json:"size"` // each file once
	Versions []versionUsage `json:"versions"`
}

// versionUsage is what one version of an environment takes.
type versionUsage struct {
	Version string `json:"version"`
	Active  bool   `json:"active"`
	Size    int64  `json:"size"`
}

func (a *app) dfVerb() verb {
	return verb{
		name: "df", short: "show what models and environments take on the disk",
		long:    "OWN is what would be freed without the model: files that other models use are not in it.\nA file that several models, or versions of an environment, have in common counts once in\nthe sums. Nothing is hashed.",
		example: "metalrun df",
		run: func(_ context.Context, args []string) error {
			if err := edge.WantArgs("df", args); err != nil {
				return err
			}
			u, err := a.usage()
			if err != nil {
				return err
			}
			return a.Result(u, u.text(a.Table))
		},
	}
}

func (a *app) usage() (usage, error) {
	store, err := a.store()
	if err != nil {
		return usage{}, err
	}
	s, err := store.Usage()
	if err != nil {
		return usage{}, err
	}
	home, err := runtime.OpenHome(a.Env.Getenv)
	if err != nil {
		return usage{}, err
	}
	envs, unfinished, err := home.Usage()
	if err != nil {
		return usage{}, err
	}
	u := usage{
		Store: store.Path(), Models: []modelUsage{}, Used: s.Used, Shared: s.Shared, Unreferenced: s.Unreferenced, Partial: s.Partial,
		Other: modelstore.Amount{Files: s.Links.Files + s.Copies.Files, Bytes: s.Links.Bytes + s.Copies.Bytes},
		Home:  home.Dir, Environments: []environmentUsage{}, Unfinished: unfinished,
	}
	for _, m := range s.Models {
		row := newModelRow(m.Model)
		if m.Problem == nil {
			row.Problem = "" // it can be read; what serves it is no matter here
		}
		u.Models = append(u.Models, modelUsage{row.Name, row.ID, m.Blobs.Files, m.Blobs.Bytes, m.Own.Bytes, m.Missing, row.Problem})
	}
	for _, e := range envs {
		row := environmentUsage{Name: e.Name, Size: e.Bytes}
		for _, v := range e.Versions {
			row.Versions = append(row.Versions, versionUsage{v.ID, v.Active, v.Bytes})
		}
		u.Environments = append(u.Environments, row)
	}
	if u.StoreFree, err = diskspace.Free(u.Store); err != nil {
		return u, err
	}
	u.HomeFree, err = diskspace.Free(u.Home)
	return u, err
}

func (u *usage) text(table ui.TableFunc) string {
	return fmt.Sprintf("models in %s, %s free\n%s\nenvironments in %s, %s free\n%s",
		u.Store, ui.Bytes(u.StoreFree), u.modelTable(table), u.Home, ui.Bytes(u.HomeFree), u.environmentTable(table))
}

func (u *usage) modelTable(table ui.TableFunc) string {
	rows := ui.Rows{{"NAME", "FILES", "SIZE", "OWN", ""}}
	for _, m := range u.Models {
		remark := m.Problem
		if m.Missing > 0 && remark == "" {
			remark = missing(m.Missing, m.Name)
		}
		rows.Add(shownName(m.Name, m.ID), strconv.Itoa(m.Files), ui.Bytes(m.Size), ui.Bytes(m.Own), remark)
	}
	sum := func(name string, n modelstore.Amount, remark string) {
		if n.Files > 0 {
			rows.Add(name, strconv.Itoa(n.Files), ui.Bytes(n.Bytes), "", remark)
		}
	}
	rows.Add("all models", strconv.Itoa(u.Used.Files), ui.Bytes(u.Used.Bytes), "", "each file once")
	sum("shared", u.Shared, "of that, used by several models")
	sum("unreferenced", u.Unreferenced, "no model uses them; a pull takes from here what it needs, 'metalrun rm --unused' removes them")
	sum("partial", u.Partial, "downloads that did not end; the same pull goes on there, 'metalrun rm --unused' removes them")
	sum("other", u.Other, "small files of directories that engines load")
	return table("lrrrl", rows)
}

func (u *usage) environmentTable(table ui.TableFunc) string {
	rows := ui.Rows{{"NAME", "VERSION", "SIZE", ""}}
	for _, e := range u.Environments {
		for _, v := range e.Versions {
			remark := ""
			if v.Active {
				remark = "active"
			}
			rows.Add(e.Name, v.Version, ui.Bytes(v.Size), remark)
		}
		if len(e.Versions) > 1 {
			rows.Add(e.Name, ui.Plural(len(e.Versions), "version"), ui.Bytes(e.Size), "each file once")
		}
	}
	if u.Unfinished > 0 {
		rows.Add("unfinished", "", ui.Bytes(u.Unfinished), "of installs that did not end: the next of the same environment goes on, 'metalrun uninstall --env' removes it with its environment")
	}
	if len(rows) == 1 {
		return "  none\n"
	}
	return table("llrl", rows)
}
