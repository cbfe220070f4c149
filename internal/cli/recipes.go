// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/recipes"
)

// recipeRow is one line of recipes list.
type recipeRow struct {
	Name      string   `json:"name"`
	Release   string   `json:"release"`
	Platforms []string `json:"platforms"`
}

func (a *app) newRecipesCmd() *cobra.Command {
	parent := &cobra.Command{
		Use: "recipes", Short: "the recipes that ship with this program",
		Args: cobra.ArbitraryArgs, RunE: group,
	}
	parent.AddCommand(&cobra.Command{
		Use:     "list",
		Short:   "list the embedded recipes",
		Example: "  metalpack recipes list",
		Args:    exactArgs(),
		RunE:    func(*cobra.Command, []string) error { return a.runRecipesList() },
	})
	return parent
}

func (a *app) runRecipesList() error {
	var rows []recipeRow
	var text strings.Builder
	for _, name := range recipes.Names() {
		r, err := recipes.Load(name)
		if err != nil {
			return err
		}
		row := recipeRow{Name: r.Name, Release: r.Release}
		for _, t := range r.Targets {
			row.Platforms = append(row.Platforms, t.Platform)
		}
		rows = append(rows, row)
		fmt.Fprintf(&text, "%s %s  %s\n", row.Name, row.Release, strings.Join(row.Platforms, ", "))
	}
	return a.result(rows, text.String())
}
