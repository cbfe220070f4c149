// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/internal/ui"
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
		Use: "recipes", Short: "the recipes that ship with this program, and yours",
		Args: cobra.ArbitraryArgs, RunE: group,
	}
	parent.AddCommand(
		&cobra.Command{
			Use:     "list",
			Short:   "list the embedded recipes",
			Example: "  metalpack recipes list",
			Args:    exactArgs(),
			RunE:    func(*cobra.Command, []string) error { return a.runRecipesList() },
		},
		a.newRecipesCheckCmd(),
		a.newRecipesMatrixCmd(),
		&cobra.Command{
			Use:   "schema",
			Short: "print the JSON Schema of recipe.yaml",
			Long: "Print the JSON Schema (2020-12) of recipe.yaml. Editors use it where the recipe says\n" +
				"# yaml-language-server: $schema=schema.json",
			Example: "  metalpack recipes schema >schema.json",
			Args:    exactArgs(),
			RunE: func(*cobra.Command, []string) error {
				_, err := a.Env.Stdout.Write(recipes.Schema())
				return err
			},
		},
	)
	return parent
}

// whichRecipes turns arguments into what [recipes.Load] takes: none means the
// embedded recipes, a directory without a recipe means those right below it.
func whichRecipes(args []string) []string {
	if len(args) == 0 {
		return recipes.Names()
	}
	var names []string
	for _, arg := range args {
		if _, err := os.Stat(filepath.Join(arg, recipes.FileName)); err != nil && !slices.Contains(recipes.Names(), arg) {
			if below := recipes.Below(arg); len(below) > 0 {
				names = append(names, below...)
				continue
			}
		}
		names = append(names, arg) // if it is none, Load says so
	}
	return names
}

func (a *app) runRecipesList() error {
	var rows []recipeRow
	text := ui.Rows{{"NAME", "RELEASE", "PLATFORMS"}}
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
		text.Add(row.Name, row.Release, strings.Join(row.Platforms, ", "))
	}
	return a.Result(rows, a.Table("lll", text))
}
