// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
	"github.com/metalpack/metalpack/recipes"
)

// checkedRecipes is the result of recipes check.
type checkedRecipes struct {
	Targets  []checkedTarget `json:"targets"`
	Findings []finding       `json:"findings"`
}

// checkedTarget is a target that can be built.
type checkedTarget struct {
	Recipe   string `json:"recipe"`
	Platform string `json:"platform"`
	Lock     string `json:"lock"`
	Packages int    `json:"packages"`
}

// finding is something wrong with a recipe.
type finding struct {
	Recipe   string   `json:"recipe"`
	Platform string   `json:"platform,omitempty"` // "" = all
	Level    string   `json:"level"`              // error or warning
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`
	Column   int      `json:"column,omitempty"`
	Field    string   `json:"field,omitempty"`
	Message  string   `json:"message"`
	Hints    []string `json:"hints,omitempty"`

	text string // for people, with the excerpt
}

// Levels of findings.
const (
	levelError   = "error"
	levelWarning = "warning"
)

func (a *app) newRecipesCheckCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "check [RECIPE...]",
		Short: "check recipes and their locks, without a network",
		Long: "Decode, merge and validate recipes, read the lock of every target, see that it belongs\n" +
			"to the recipe as it is, and select the wheels. All that is wrong is said at once, with\n" +
			"file, line and column. RECIPE is a name, a directory, or a directory of recipes; the\n" +
			"default is all that are embedded. Exit status 1 if anything is an error.",
		Example: "  metalpack recipes check ./my-recipe\n  metalpack recipes check recipes",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(_ *cobra.Command, args []string) error { return a.runRecipesCheck(args) },
	}
}

func (a *app) runRecipesCheck(args []string) error {
	out := checkedRecipes{Targets: []checkedTarget{}, Findings: []finding{}} // empty lists in JSON, not null
	names := whichRecipes(args)
	for _, name := range names {
		a.checkRecipe(&out, name)
	}
	var sound ui.Rows
	for _, t := range out.Targets {
		sound.Add(t.Recipe, t.Platform, t.Lock, ui.Plural(t.Packages, "package"))
	}
	var text strings.Builder
	text.WriteString(a.Table("lllr", sound))
	var wrong []string
	for _, f := range out.Findings {
		fmt.Fprintf(&text, "%s: %s\n", f.Level, f.text)
		for _, h := range f.Hints {
			fmt.Fprintf(&text, "  hint: %s\n", h)
		}
		if f.Level == levelError {
			wrong = append(wrong, f.Recipe)
		}
	}
	if err := a.Result(out, text.String()); err != nil {
		return err
	}
	if n := len(wrong); n > 0 {
		return edge.Errorf(bundle.ErrInvalid, "%s in %d of %s", ui.Plural(n, "error"), len(slices.Compact(wrong)), ui.Plural(len(names), "recipe"))
	}
	return nil
}

// checkRecipe adds what is to be said about one recipe.
func (a *app) checkRecipe(out *checkedRecipes, name string) {
	add := func(level, platform string, err error) {
		for _, err := range each(err) {
			out.Findings = append(out.Findings, a.finding(name, platform, level, err))
		}
	}
	r, err := recipes.Load(name)
	if err != nil {
		add(levelError, "", err)
		return
	}
	if _, err := r.ReadFile(r.Requirements); err != nil {
		add(levelError, "", r.Because("requirements", err))
	}
	used := make(map[string]bool)
	sound := true
	for i, t := range r.Targets {
		wheels, at, err := wheelsOf(r, t)
		if err != nil {
			add(levelError, t.Platform, r.Because(fmt.Sprintf("targets[%d].%s", i, at), err))
			sound = false
			continue
		}
		for _, w := range wheels {
			used[w.Name] = true
		}
		for _, err := range unprovable(r, t, wheels) {
			add(levelError, t.Platform, err)
		}
		out.Targets = append(out.Targets, checkedTarget{name, t.Platform, t.Lock, len(wheels)})
	}
	if !sound {
		return // what the targets need is not known
	}
	for i, d := range r.Wheels.Winner {
		if !used[d.Package] {
			add(levelWarning, "", r.Fault(fmt.Sprintf("wheels.winner[%d].package", i), "no target has a package %s", d.Package))
		}
	}
	for i, d := range r.Wheels.Waive {
		if !used[d.Package] {
			add(levelWarning, "", r.Fault(fmt.Sprintf("wheels.waive[%d].package", i), "no target has a package %s", d.Package))
		}
	}
}

// wheelsOf selects the wheels of a target. With an error comes the field that
// has to do with it.
func wheelsOf(r *recipes.Recipe, t recipes.Target) (wheels []lock.Wheel, field string, err error) {
	if _, err := lock.ForTarget(t); err != nil {
		if t.OS != "" {
			return nil, "os", err
		}
		return nil, "glibc", err
	}
	_, _, wheels, err = lock.ForRecipe(r, t)
	return wheels, "lock", lockHint(err, r, t.Platform)
}

// unprovable finds probes for the version of a package that a target does not
// have: no install of it could pass.
func unprovable(r *recipes.Recipe, t recipes.Target, wheels []lock.Wheel) (errs []error) {
	for i, p := range r.Probes {
		if p.Version == "" || p.On != "" && !strings.HasPrefix(t.Platform, p.On+"/") {
			continue
		}
		if !slices.ContainsFunc(wheels, func(w lock.Wheel) bool { return w.Name == p.Version }) {
			errs = append(errs, r.Fault(fmt.Sprintf("probes[%d].version", i), "%s has no package %s", t.Platform, p.Version))
		}
	}
	return errs
}

// each takes joined errors apart.
func each(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if _, one := errors.AsType[*recipes.Error](err); !ok || !one {
		return []error{err}
	}
	var all []error
	for _, err := range joined.Unwrap() {
		all = append(all, each(err)...)
	}
	return all
}

// finding puts an error into words.
func (a *app) finding(recipe, platform, level string, err error) finding {
	f := finding{Recipe: recipe, Platform: platform, Level: level, Message: err.Error(), text: err.Error()}
	if e, ok := errors.AsType[*recipes.Error](err); ok {
		f.File, f.Line, f.Column, f.Field, f.Message = e.File, e.Line, e.Column, e.Field, e.Message
	}
	_, f.Hints = a.Env.Classify(err)
	return f
}
