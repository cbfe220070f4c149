// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/recipes"
)

type lockOptions struct {
	platforms []string
	findLinks []string
	update    []string
	from      string
	summary   string
	upgrade   bool
	check     bool
}

func (a *app) newLockCmd() *cobra.Command {
	o := lockOptions{}
	cmd := &cobra.Command{
		Use:   "lock RECIPE",
		Short: "resolve a recipe's requirements with uv and write its locks",
		Long: "Resolve the requirements of a recipe for each of its targets with uv and write the\n" +
			"locks beside it. What the lock has and still fits is kept; --update moves one package,\n" +
			"--upgrade all. Extra wheels that have a URL get rows of their own, and a requirement\n" +
			"NAME @ git+https://HOST/REPOSITORY@COMMIT is built once into a wheel below wheels/.\n" +
			"What changed against the old lock is printed. With --check nothing is written: a lock\n" +
			"that would change is an error. --from takes the versions and hashes of a requirements\n" +
			"file as they are, and resolves nothing.",
		Example: "  metalpack lock ./recipes/mlx-lm --platform darwin/arm64\n" +
			"  metalpack lock ./my-recipe --update transformers --summary markdown\n" +
			"  metalpack lock ./my-recipe --from requirements.txt",
		Args: exactArgs("RECIPE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runLock(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.platforms, "platform", nil, "`target` of the recipe, like darwin/arm64; may be repeated (default: all)")
	f.StringArrayVar(&o.update, "update", nil, "`package` to bring up to date; may be repeated")
	f.BoolVar(&o.upgrade, "upgrade", false, "bring every package up to date")
	f.BoolVar(&o.check, "check", false, "write nothing; fail if a lock would change")
	f.StringVar(&o.from, "from", "", "requirements `file` with hashes to make the lock of")
	f.StringVar(&o.summary, "summary", "text", "`form` of what is printed: text or markdown")
	f.StringArrayVar(&o.findLinks, "find-links", nil, "`directory` with extra wheels, matched by sha256; may be repeated")
	return cmd
}

// validate refuses options that contradict one another.
func (o lockOptions) validate() error {
	switch {
	case o.summary != "text" && o.summary != "markdown":
		return edge.Usagef("--summary %q: want text or markdown", o.summary)
	case o.upgrade && len(o.update) > 0:
		return edge.Usagef("--upgrade moves every package, --update only some: want one of them")
	case o.from != "" && (o.upgrade || len(o.update) > 0):
		return edge.Usagef("--from takes the versions of a file as they are: --update and --upgrade have no meaning")
	}
	return checkDirs("--find-links", o.findLinks)
}

func (a *app) runLock(ctx context.Context, name string, o lockOptions) (err error) {
	if err := o.validate(); err != nil {
		return err
	}
	r, err := recipes.Load(name)
	if err != nil {
		return err
	}
	targets, err := pickTargets(r, o.platforms)
	if err != nil {
		return err
	}
	if r.Dir() == "" && !o.check { // said before anything is resolved
		return edge.WithHint(edge.Errorf(bundle.ErrInvalid, "lock: %s is embedded in this program, its locks cannot be written", r.Name),
			"compare with --check, or write a recipe of your own that extends it")
	}
	j, err := a.newLockJob(ctx, r, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.sources.Close()) }()
	if err := j.checkUpdates(targets); err != nil {
		return err
	}
	if j.uv, err = a.findUV(ctx); err != nil {
		return err
	}
	var rows []lockRow
	for _, t := range targets {
		row, err := j.target(ctx, t)
		if err != nil {
			return err // names recipe and target
		}
		rows = append(rows, row)
	}
	if err := a.Result(rows, lockText(r, rows, o, a.Table)); err != nil || !o.check {
		return err
	}
	return wouldChange(r, rows)
}

// wouldChange is the error of --check.
func wouldChange(r *recipes.Recipe, rows []lockRow) error {
	var files []string
	hint := []string{"metalpack lock", argument(r)}
	for _, row := range rows {
		if row.Changed {
			files = append(files, row.File)
			hint = append(hint, "--platform", row.Platform)
		}
	}
	if len(files) == 0 {
		return nil
	}
	err := fmt.Errorf("%s would change: %w", strings.Join(files, ", "), lock.ErrStale)
	if r.Dir() == "" {
		return edge.WithHint(err, "the lock is embedded in this program; a recipe of your own that extends %s has its own", r.Name)
	}
	return edge.WithHint(err, "%s", strings.Join(hint, " "))
}

// findUV finds uv, or installs one in the cache.
func (a *app) findUV(ctx context.Context) (lock.UV, error) {
	dir, err := a.cache("uv")
	if err != nil {
		return lock.UV{}, err
	}
	return lock.Finder{Dir: dir, Events: a.Events()}.Find(ctx)
}
