// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/fsatomic"
	"github.com/metalpack/metalpack/recipes"
)

// lockJob is one run of lock.
type lockJob struct {
	app     *app
	recipe  *recipes.Recipe
	options lockOptions
	uv      lock.UV
	sources *lock.Sources
	fetcher inputs.Fetcher // of extra wheels: without an index
	from    []byte         // the requirements file of --from
}

func (a *app) newLockJob(ctx context.Context, r *recipes.Recipe, o lockOptions) (*lockJob, error) {
	cache, err := a.inputCache()
	if err != nil {
		return nil, err
	}
	dirs := append(r.WheelDirs(), o.findLinks...)
	j := &lockJob{app: a, recipe: r, options: o, fetcher: inputs.Fetcher{Cache: cache, FindLinks: dirs, CAFile: a.registry.CAFile, Events: a.Events()}}
	j.sources = &lock.Sources{Dirs: dirs, Cached: func(ctx context.Context, sum string) (string, error) {
		if ok, err := cache.Verify(ctx, sum); err != nil || !ok {
			return "", err
		}
		return cache.Path(sum), nil
	}}
	if o.from != "" {
		j.from, err = ctxio.Wait(ctx, func() ([]byte, error) { return readRequirements(o.from) }) // a pipe perhaps
	}
	return j, err
}

// maxRequirements is the cap on a requirements file, in bytes.
const maxRequirements = 4 << 20

func readRequirements(path string) (_ []byte, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, edge.Errorf(bundle.ErrNotFound, "--from %s: no such file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	defer fsatomic.CloseErr(&err, f)
	data, err := io.ReadAll(io.LimitReader(f, maxRequirements+1))
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	if len(data) > maxRequirements {
		return nil, fmt.Errorf("--from %s: more than %d bytes: %w", path, maxRequirements, bundle.ErrInvalid)
	}
	return data, nil
}

// checkUpdates refuses a package to update that no lock has, or that does not
// come from an index.
func (j *lockJob) checkUpdates(targets []recipes.Target) error {
	for i, name := range j.options.update {
		name = target.NormalizeName(name)
		j.options.update[i] = name
		found := false
		for _, t := range targets {
			old, _, err := lock.Read(j.recipe, t)
			if err != nil {
				continue // said, or made anew, by target
			}
			at := slices.IndexFunc(old.Packages, func(p lock.Package) bool { return p.Name == name })
			if at < 0 {
				continue
			}
			if found = true; len(old.Packages[at].Wheels) == 0 {
				return edge.WithHint(edge.Usagef("--update %s: it comes from no index", name), "change its address and sha256, or its commit, in the recipe")
			}
		}
		if !found {
			return edge.WithHint(edge.Usagef("--update %s: no lock of %s has such a package", name, j.recipe.Name), "the names are in %s", filepath.Base(targets[0].Lock))
		}
	}
	return nil
}

// target makes the lock of one target and writes it if that changes it.
func (j *lockJob) target(ctx context.Context, t recipes.Target) (lockRow, error) {
	row := lockRow{Platform: t.Platform, File: t.Lock, floor: t.Bundle().Floor()}
	tgt, err := lock.ForTarget(t)
	if err != nil {
		return row, err
	}
	old, oldBytes, err := lock.Read(j.recipe, t)
	if err != nil && !errors.Is(err, bundle.ErrNotFound) {
		j.app.Note("the old lock does not count: %v", err)
	}
	fresh, err := j.make(ctx, tgt, old)
	if err != nil {
		return row, j.hint(err)
	}
	if err := row.compare(j.app, tgt, old, fresh); err != nil {
		return row, err
	}
	row.Changed = !bytes.Equal(oldBytes, fresh.Encode())
	if j.options.check {
		return row, nil
	}
	path := j.recipe.PathOf(t.Lock)
	if path != "" {
		if err := j.sources.Publish(ctx, filepath.Join(filepath.Dir(path), "wheels"), fresh, old, j.app.Events()); err != nil {
			return row, err
		}
	}
	if !row.Changed {
		return row, nil
	}
	return row, lock.Write(path, fresh)
}

// make resolves, or converts.
func (j *lockJob) make(ctx context.Context, t *target.Target, old *lock.Lock) (*lock.Lock, error) {
	o := lock.ResolveOptions{
		Current: old, Update: j.options.update, Upgrade: j.options.upgrade,
		Asset: j.asset, Sources: j.sources, Events: j.app.Events(),
	}
	if j.options.from != "" {
		return lock.Convert(ctx, j.uv, j.recipe, t, j.options.from, j.from, o)
	}
	return lock.Resolve(ctx, j.uv, j.recipe, t, o)
}

// asset gets an extra wheel and returns its size.
func (j *lockJob) asset(ctx context.Context, w lock.Wheel) (int64, error) {
	paths, err := j.fetcher.Fetch(ctx, inputs.Wheels(nil, []lock.Wheel{w}))
	if missing, ok := errors.AsType[*inputs.MissingError](err); ok {
		return 0, fmt.Errorf("%w; --find-links names a directory that has it", missing.Reasons[0]) // the file is named by who asks
	}
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(paths[w.SHA256])
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// hint says what to do about a lock that could not be made.
func (j *lockJob) hint(err error) error {
	switch {
	case errors.Is(err, lock.ErrYanked):
		return edge.WithHint(err, "move it with 'metalpack lock %s --update PACKAGE', or ask for another version in the requirements", argument(j.recipe))
	case errors.Is(err, lock.ErrNoGit):
		return edge.WithHint(err, "install git, or build the wheel elsewhere and name it under wheels.extra")
	case errors.Is(err, bundle.ErrUnreachable):
		return edge.WithHint(err, "check the network and HTTPS_PROXY; the lock is as it was")
	case errors.Is(err, bundle.ErrNotFound) && j.options.from != "":
		return edge.WithHint(err, "make the file anew for this platform; if its index is another one, configure that in uv")
	case errors.Is(err, bundle.ErrNotFound):
		return edge.WithHint(err, "check the repository and the commit in %s; for a private one git needs credentials of its own", j.recipe.Requirements)
	}
	return err
}
