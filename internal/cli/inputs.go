// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/metalpack/metalpack/builder"
	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/diskspace"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/recipes"
)

// inputOptions say where the bytes of wheels and interpreters may come from.
type inputOptions struct {
	platforms  []string
	findLinks  []string
	inputsFrom []string
	offline    bool
}

func (o *inputOptions) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.platforms, "platform", nil, "`target` of the recipe, like darwin/arm64; may be repeated (default: all)")
	f.StringArrayVar(&o.findLinks, "find-links", nil, "`directory` with wheels and interpreter archives, matched by sha256; may be repeated")
	f.StringArrayVar(&o.inputsFrom, "inputs-from", nil, "`archive` of inputs that 'fetch --to' wrote, like docker://REF or oci:DIR:tag; may be repeated")
	f.BoolVar(&o.offline, "offline", false, "use the cache, directories and archives on disk alone")
}

// validate refuses options of which nothing would come.
func (o *inputOptions) validate() error { return checkDirs("--find-links", o.findLinks) }

// targetInputs is one target of a recipe with all it is made of.
type targetInputs struct {
	target   recipes.Target
	wheels   []lock.Wheel
	lockFile []byte
	wants    []inputs.Want
	paths    map[string]string // sha256 -> path, once fetched
}

// gather reads the locks of the chosen targets: nothing is fetched.
func gather(r *recipes.Recipe, platforms []string) ([]*targetInputs, error) {
	targets, err := pickTargets(r, platforms)
	if err != nil {
		return nil, err
	}
	var all []*targetInputs
	for _, t := range targets {
		tgt, err := lock.ForTarget(t)
		if err != nil {
			return nil, err
		}
		_, data, wheels, err := lock.ForRecipe(r, t)
		if err != nil {
			return nil, lockHint(fmt.Errorf("%s: %w", t.Platform, err), r, t.Platform)
		}
		wants := append([]inputs.Want{inputs.Interpreter(t.Interpreter)}, inputs.Wheels(tgt, wheels)...)
		all = append(all, &targetInputs{target: t, wheels: wheels, lockFile: data, wants: wants})
	}
	return all, nil
}

// pickTargets returns the recipe's targets for the platforms asked for, all of
// them when none is.
func pickTargets(r *recipes.Recipe, platforms []string) ([]recipes.Target, error) {
	if len(platforms) == 0 {
		return r.Targets, nil
	}
	if err := checkPlatforms(platforms); err != nil {
		return nil, err
	}
	var out []recipes.Target
	for _, p := range platforms {
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

// fetch brings every input of the targets into the cache, where they stay at
// least until ctx ends: a build reads them.
func (a *app) fetch(ctx context.Context, r *recipes.Recipe, all []*targetInputs, o inputOptions) error {
	cache, err := a.inputCache()
	if err != nil {
		return err
	}
	release, err := cache.Hold(ctx)
	if err != nil {
		return cacheHint(err, cache)
	}
	context.AfterFunc(ctx, func() { _ = release() }) // the command is over
	archives, err := a.archives(ctx, o)
	if err != nil {
		return err
	}
	f := inputs.Fetcher{
		Cache: cache, FindLinks: append(r.WheelDirs(), o.findLinks...), Archives: archives,
		UV: a.findUV, Offline: o.offline, CAFile: a.registry.CAFile, Events: a.Events(),
	}
	for _, t := range all {
		if t.paths, err = f.Fetch(ctx, t.wants); err != nil {
			return cacheHint(missingHint(fmt.Errorf("%s: %w", t.target.Platform, err), argument(r), o.offline), cache)
		}
	}
	return nil
}

// inputCache is where inputs are kept.
func (a *app) inputCache() (*inputs.Cache, error) {
	dir, err := a.cache("inputs")
	return inputs.NewCache(dir), err
}

// archives says how the archives of --inputs-from are opened, each at most
// once, and closed when ctx ends.
func (a *app) archives(ctx context.Context, o inputOptions) (all []func(context.Context) (*inputs.Archive, error), err error) {
	for _, word := range o.inputsFrom {
		ref, err := parseSource(word, "")
		if err != nil {
			return nil, err
		}
		if o.offline && ref.Transport == bundle.TransportDocker {
			return nil, edge.Usagef("--offline: --inputs-from %s is a registry", word)
		}
		var opened *inputs.Archive
		all = append(all, func(ask context.Context) (*inputs.Archive, error) {
			if opened != nil {
				return opened, nil
			}
			src, root, ref, closeSource, err := a.open(ask, word, "")
			if err != nil {
				return nil, fmt.Errorf("--inputs-from: %w", err)
			}
			context.AfterFunc(ctx, func() { _ = closeSource() }) // only read
			opened, err = inputs.OpenArchive(ask, ref.String(), src, root)
			return opened, err
		})
	}
	return all, nil
}

// missingHint says how files that are missing can be had.
func missingHint(err error, recipe string, offline bool) error {
	const links = "put the files into a directory and name it with --find-links (or into wheels/ beside the lock), or take them from an archive with --inputs-from"
	if _, ok := errors.AsType[*inputs.MissingError](err); !ok {
		return err
	}
	switch {
	case offline:
		return edge.WithHint(err, "run 'metalpack fetch %s' once where there is a network, with the same cache; or %s", recipe, links)
	case errors.Is(err, lock.ErrNoUV):
		return edge.WithHint(err, "%s; or %s", uvHint, links)
	case errors.Is(err, bundle.ErrUnreachable):
		return edge.WithHint(err, "check the network and HTTPS_PROXY, then repeat: what came is kept; or %s", links)
	}
	return edge.WithHint(err, "%s", links)
}

// cacheHint says what to do about a cache that cannot be used.
func cacheHint(err error, cache *inputs.Cache) error {
	base := filepath.Dir(cache.Dir())
	if _, full := errors.AsType[*diskspace.Error](err); full {
		return edge.WithHint(err, "make room, with 'metalpack cache prune' perhaps, or name another directory with --cache; then repeat: what came is kept")
	}
	path, ok := errors.AsType[*fs.PathError](err)
	if ok && (strings.HasPrefix(path.Path, base) || strings.HasPrefix(base, path.Path)) && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOTDIR)) {
		return edge.WithHint(err, "the cache cannot be written; name another directory with --cache")
	}
	return err
}

// argument is what names a recipe in a command that is to be typed.
func argument(r *recipes.Recipe) string {
	return edge.Quote(cmp.Or(r.Dir(), r.Name))
}

// lockHint says how a lock that is missing or stale is made.
func lockHint(err error, r *recipes.Recipe, platform string) error {
	switch {
	case r.Dir() == "" || !errors.Is(err, bundle.ErrNotFound) && !errors.Is(err, lock.ErrStale):
		return err
	default:
		return edge.WithHint(err, "make the lock: metalpack lock %s --platform %s", argument(r), platform)
	}
}

// builderInput turns a fetched target into the builder's input.
func (a *app) builderInput(r *recipes.Recipe, t *targetInputs) (builder.Input, error) {
	merged, err := r.Merged()
	if err != nil {
		return builder.Input{}, err
	}
	cacheDir, err := a.cache("build")
	if err != nil {
		return builder.Input{}, err
	}
	in := builder.Input{
		Name: r.Name, Release: r.Release, Platform: t.target.Bundle(),
		Interpreter: builder.Interpreter{
			File: t.target.Interpreter.File, Path: t.paths[t.target.Interpreter.SHA256], SHA256: t.target.Interpreter.SHA256, Version: t.target.Interpreter.Version,
		},
		Strip: r.Strip, Decisions: r.Decisions(t.target), Launch: r.Profiles(t.target), Probes: r.Probes,
		RecipeYAML: merged, LockTOML: t.lockFile,
		CacheDir: cacheDir, Gzip: -1, Zstd: "none", Events: a.Events(),
	}
	for _, codec := range r.Compression.Codecs {
		switch codec {
		case recipes.CodecGzip:
			in.Gzip = int(r.Compression.Gzip)
			if r.Compression.Gzip == recipes.GzipJoin {
				in.Gzip = builder.GzipJoin
			}
		case recipes.CodecZstd:
			in.Zstd = r.Compression.Zstd
		}
	}
	for _, w := range t.wheels {
		in.Wheels = append(in.Wheels, builder.Wheel{
			Name: w.Name, Version: w.Version, File: w.File, Path: t.paths[w.SHA256], SHA256: w.SHA256, Size: w.Size, Origin: w.Origin,
		})
	}
	return in, nil
}
