// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/recipes"
)

type lockOptions struct {
	platforms []string
	update    []string
	upgrade   bool
	check     bool
}

// lockRow is the result of lock for one target.
type lockRow struct {
	Platform string `json:"platform"`
	File     string `json:"file"`
	Packages int    `json:"packages"`
	Changed  bool   `json:"changed"`
}

func (a *app) newLockCmd() *cobra.Command {
	o := lockOptions{}
	cmd := &cobra.Command{
		Use:   "lock RECIPE",
		Short: "resolve a recipe's requirements with uv and write its locks",
		Long: "Resolve the requirements of a recipe for each of its targets with uv and write the\n" +
			"locks beside it. What the lock has and still fits is kept; --upgrade asks for the\n" +
			"newest of all. With --check nothing is written: a lock that would change is an error.",
		Example: "  metalpack lock ./recipes/mlx-lm --platform darwin/arm64",
		Args:    exactArgs("RECIPE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runLock(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.platforms, "platform", nil, "target to lock, like darwin/arm64; may be repeated (default: all)")
	f.StringArrayVar(&o.update, "update", nil, "package to bring up to date; may be repeated")
	f.BoolVar(&o.upgrade, "upgrade", false, "bring every package up to date")
	f.BoolVar(&o.check, "check", false, "write nothing; fail if a lock would change")
	return cmd
}

func (a *app) runLock(ctx context.Context, name string, o lockOptions) error {
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
	uv, err := a.findUV(ctx)
	if err != nil {
		return err
	}
	var rows []lockRow
	var text strings.Builder
	for _, t := range targets {
		row, err := a.lockTarget(ctx, uv, r, t, o)
		if err != nil {
			return err // names recipe and target
		}
		rows = append(rows, row)
		state := "unchanged"
		if row.Changed {
			state = "written"
		}
		fmt.Fprintf(&text, "%s  %s  %d packages  %s\n", row.Platform, row.File, row.Packages, state)
	}
	return a.result(rows, text.String())
}

// lockTarget resolves one target and writes its lock if that changes it.
func (a *app) lockTarget(ctx context.Context, uv lock.UV, r *recipes.Recipe, t recipes.Target, o lockOptions) (lockRow, error) {
	row := lockRow{Platform: t.Platform, File: t.Lock}
	tgt, err := lock.ForTarget(t)
	if err != nil {
		return row, err
	}
	ro := lock.ResolveOptions{Update: o.update, Events: a.events()}
	old, oldBytes, err := lock.Read(r, t)
	if err == nil && !o.upgrade {
		ro.Current = old
	}
	fresh, err := lock.Resolve(ctx, uv, r, tgt, ro)
	if errors.Is(err, bundle.ErrUnreachable) {
		return row, edge.WithHint(err, "check the network and HTTPS_PROXY; the lock is as it was")
	}
	if err != nil {
		return row, err
	}
	row.Packages, row.Changed = len(fresh.Packages), !bytes.Equal(oldBytes, fresh.Encode())
	switch {
	case !row.Changed:
		return row, nil
	case o.check:
		return row, edge.WithHint(fmt.Errorf("%s would change: %w", t.Lock, lock.ErrStale), "metalpack lock %s --platform %s", argument(r), t.Platform)
	}
	return row, lock.Write(r.PathOf(t.Lock), fresh)
}

// findUV finds uv, or installs one in the cache.
func (a *app) findUV(ctx context.Context) (lock.UV, error) {
	dir, err := a.cache("uv")
	if err != nil {
		return lock.UV{}, err
	}
	return lock.Finder{Dir: dir, Events: a.events()}.Find(ctx)
}

// cache returns a directory below the cache directory.
func (a *app) cache(name string) (string, error) {
	base := a.cacheDir
	if base == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", edge.Usagef("no user cache directory (%v): name one with --cache", err)
		}
		base = filepath.Join(user, "metalpack")
	}
	abs, err := filepath.Abs(base)
	if err != nil {
		return "", err
	}
	return filepath.Join(abs, name), nil
}

// pickTargets returns the recipe's targets for the platforms asked for, all of
// them when none is.
func pickTargets(r *recipes.Recipe, platforms []string) ([]recipes.Target, error) {
	if len(platforms) == 0 {
		return r.Targets, nil
	}
	var out []recipes.Target
	for _, p := range platforms {
		if _, err := bundle.ParsePlatform(p); err != nil {
			return nil, edge.Errorf(edge.ErrUsage, "--platform: %w", err)
		}
		t, ok := r.Target(p)
		if !ok {
			var have []string
			for _, t := range r.Targets {
				have = append(have, t.Platform)
			}
			return nil, edge.WithHint(edge.Errorf(bundle.ErrUnsupportedHost, "recipe %s has no target %s, only %s", r.Name, p, strings.Join(have, ", ")),
				"name one of these, or add the target to the recipe and make its lock")
		}
		out = append(out, t)
	}
	return out, nil
}
