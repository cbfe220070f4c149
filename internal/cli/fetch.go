// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/recipes"
)

// fetchedFile is one row of the result of fetch.
type fetchedFile struct {
	Platform string `json:"platform"`
	Name     string `json:"name"`
	File     string `json:"file"`
	SHA256   string `json:"sha256"`
	Path     string `json:"path"`
}

func (a *app) newFetchCmd() *cobra.Command {
	o := inputOptions{}
	cmd := &cobra.Command{
		Use:   "fetch RECIPE",
		Short: "fetch every input of a recipe into the cache",
		Long: "Fetch the interpreter and the wheels that the locks name, by sha256, into the cache.\n" +
			"After it a build needs neither a network nor uv.",
		Example: "  metalpack fetch mlx-lm --platform darwin/arm64",
		Args:    exactArgs("RECIPE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runFetch(cmd.Context(), args[0], o) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (a *app) runFetch(ctx context.Context, name string, o inputOptions) error {
	r, err := recipes.Load(name)
	if err != nil {
		return err
	}
	all, err := gather(r, o.platforms)
	if err != nil {
		return err
	}
	if err := a.fetch(ctx, r, all, o); err != nil {
		return err
	}
	var rows []fetchedFile
	var text strings.Builder
	for _, t := range all {
		for _, w := range t.wants {
			row := fetchedFile{Platform: t.target.Platform, Name: w.Name, File: w.File, SHA256: w.SHA256, Path: t.paths[w.SHA256]}
			rows = append(rows, row)
			fmt.Fprintf(&text, "%s  %s  %s\n", row.SHA256, row.Platform, row.File)
		}
	}
	return a.result(rows, text.String())
}
