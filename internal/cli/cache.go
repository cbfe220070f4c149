// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/builder"
	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/cachedir"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/filestamp"
	"github.com/metalpack/metalpack/internal/ui"
)

func (a *app) newCacheCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "cache", Short: "the cache of inputs and layers", RunE: group, Args: cobra.ArbitraryArgs}
	cmd.AddCommand(a.newCacheInfoCmd(), a.newCachePruneCmd())
	return cmd
}

func (a *app) newCacheInfoCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "info",
		Short: "what lies in the cache, and how much of it",
		Long: "Tell what lies in the cache: inputs (wheels, interpreter archives), layers that were\n" +
			"built, interpreters that were expanded, partial files, a private uv, and the digests\n" +
			"of model files, which are not hashed again while they stay as they are. The date is\n" +
			"that of the last use of what was not used for longest.",
		Example: "  metalpack cache info\n  metalpack cache info --json",
		Args:    exactArgs(),
		RunE:    func(*cobra.Command, []string) error { return a.runCacheInfo() },
	}
}

type pruneOptions struct {
	olderThan           string
	all, dryRun, verify bool
}

func (a *app) newCachePruneCmd() *cobra.Command {
	o := pruneOptions{}
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "remove from the cache what was not used for a while",
		Long: "Remove partial files, and inputs, layers, interpreters and digests that were not used\n" +
			"for 30 days. Builds and fetches that run are waited for, and wait meanwhile. Nothing\n" +
			"that is removed is lost: it is fetched or built again when it is needed.",
		Example: "  metalpack cache prune --dry-run\n  metalpack cache prune --older-than 7d\n  metalpack cache prune --all",
		Args:    exactArgs(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runCachePrune(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.olderThan, "older-than", "30d", "`age` of the last use from which it goes, in days (7d) or as in 12h30m")
	f.BoolVar(&o.all, "all", false, "remove everything, a private uv too")
	f.BoolVar(&o.verify, "verify", false, "read all inputs that stay again, and remove those that are damaged")
	f.BoolVar(&o.dryRun, "dry-run", false, "remove nothing, tell what would be")
	return cmd
}

const (
	kindUV    = "uv"
	digestDir = "digests" // below the cache directory
)

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
	if info, err := os.Stat(abs); err == nil && !info.IsDir() || errors.Is(err, syscall.ENOTDIR) {
		return "", edge.WithHint(edge.Errorf(bundle.ErrInvalid, "cache: %s: not a directory", abs), "name another directory with --cache")
	}
	return filepath.Join(abs, name), nil
}

// cacheRow is one kind of what lies in the cache.
type cacheRow struct {
	Kind   string `json:"kind"`
	Path   string `json:"path"`
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
	Oldest string `json:"oldest,omitempty"` // last use, RFC 3339

	oldest time.Time
}

// cacheItems lists all that lies in the cache, and where each kind lies.
func (a *app) cacheItems() (items []cachedir.Item, rows []cacheRow, err error) {
	cache, err := a.inputCache()
	if err != nil {
		return nil, nil, err
	}
	base := filepath.Dir(cache.Dir())
	build, uv, digests := filepath.Join(base, "build"), filepath.Join(base, "uv"), filepath.Join(base, digestDir)
	rows = []cacheRow{
		{Kind: inputs.KindInput, Path: cache.Dir()},
		{Kind: builder.KindLayer, Path: filepath.Join(build, "layers")},
		{Kind: builder.KindInterpreter, Path: filepath.Join(build, "interpreters")},
		{Kind: builder.KindPlan, Path: filepath.Join(build, "plans")},
		{Kind: inputs.KindPartial, Path: base},
		{Kind: kindUV, Path: uv},
		{Kind: filestamp.KindDigest, Path: digests},
	}
	items, err = cache.Items()
	if err != nil {
		return nil, nil, err
	}
	built, err := builder.CacheItems(build)
	if err != nil {
		return nil, nil, err
	}
	known, err := filestamp.Items(digests)
	if err != nil {
		return nil, nil, err
	}
	items = append(items, known...)
	own, ok, err := cachedir.NewItem(kindUV, filepath.Join(uv, "install"))
	if ok {
		built = append(built, own)
	}
	return append(items, built...), rows, err
}

// count adds items to the rows of their kinds.
func count(rows []cacheRow, items []cachedir.Item) {
	for _, item := range items {
		i := slices.IndexFunc(rows, func(r cacheRow) bool { return r.Kind == item.Kind })
		rows[i].Files += item.Files
		rows[i].Bytes += item.Bytes
		if rows[i].oldest.IsZero() || item.Used.Before(rows[i].oldest) {
			rows[i].oldest = item.Used
			rows[i].Oldest = item.Used.UTC().Format(time.RFC3339)
		}
	}
}

func (a *app) runCacheInfo() error {
	items, rows, err := a.cacheItems()
	if err != nil {
		return err
	}
	count(rows, items)
	text := ui.Rows{{"KIND", "FILES", "SIZE", "OLDEST USE", "PLACE"}}
	for _, r := range rows {
		oldest := "-"
		if r.Oldest != "" {
			oldest = r.oldest.UTC().Format(time.DateOnly)
		}
		text.Add(r.Kind, strconv.Itoa(r.Files), ui.Bytes(r.Bytes), oldest, r.Path)
	}
	return a.Result(rows, a.Table("lrrll", text))
}

// pruned is the result of cache prune.
type pruned struct {
	DryRun bool       `json:"dryRun"`
	Bytes  int64      `json:"bytes"`
	Kinds  []cacheRow `json:"kinds"`
}

func (a *app) runCachePrune(ctx context.Context, o pruneOptions) (err error) {
	age, err := parseAge(o.olderThan)
	if err != nil {
		return err
	}
	if o.verify && (o.dryRun || o.all) {
		return edge.Usagef("cache prune: --verify removes what is damaged among what stays: neither --dry-run nor --all goes with it")
	}
	release, err := a.cacheAlone(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	items, rows, err := a.cacheItems()
	if err != nil {
		return err
	}
	cutoff := time.Now().Add(-age)
	var gone []cachedir.Item
	for _, item := range items {
		drop := o.all || item.Kind == inputs.KindPartial || item.Kind != kindUV && item.Used.Before(cutoff)
		if !drop && o.verify && item.Kind == inputs.KindInput {
			if drop, err = a.damaged(ctx, item); err != nil {
				return err
			}
		}
		if !drop {
			continue
		}
		if !o.dryRun {
			if err := item.Remove(); err != nil {
				return err
			}
		}
		gone = append(gone, item)
	}
	return a.pruneResult(rows, gone, o.dryRun)
}

// damaged reports whether an input is no longer what its name says.
func (a *app) damaged(ctx context.Context, item cachedir.Item) (bool, error) {
	cache, err := a.inputCache()
	if err != nil {
		return false, err
	}
	file := item.Paths[len(item.Paths)-1]
	ok, err := cache.Rehash(ctx, filepath.Base(file))
	if !ok && err == nil {
		a.Note("%s was damaged and has been removed", file)
	}
	return !ok, err
}

// cacheAlone waits until no other process uses the cache.
func (a *app) cacheAlone(ctx context.Context) (release func() error, err error) {
	var held []func() error
	release = func() error {
		var err error
		for _, r := range held {
			err = errors.Join(err, r())
		}
		return err
	}
	for _, name := range []string{"inputs", "build"} { // in the order in which a build takes them
		dir, err := a.cache(name)
		if err != nil {
			return nil, errors.Join(err, release())
		}
		r, err := cachedir.Alone(ctx, dir, func() { a.Note("another process uses the cache in %s; waiting for it", dir) })
		if err != nil {
			return nil, errors.Join(err, release())
		}
		held = append(held, r)
	}
	return release, nil
}

func (a *app) pruneResult(rows []cacheRow, gone []cachedir.Item, dryRun bool) error {
	count(rows, gone)
	verb := "removed"
	if dryRun {
		verb = "would be removed"
	}
	out := pruned{DryRun: dryRun, Kinds: rows}
	var text ui.Rows
	for i, r := range rows {
		rows[i].Oldest = ""
		out.Bytes += r.Bytes
		if r.Files > 0 {
			text.Add(r.Kind, ui.Plural(r.Files, "file"), ui.Bytes(r.Bytes))
		}
	}
	return a.Result(out, a.Table("lrr", text)+fmt.Sprintf("%s %s\n", ui.Bytes(out.Bytes), verb))
}

// parseAge reads a duration, in days too.
func parseAge(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	age, err := time.ParseDuration(s)
	if err != nil || age < 0 {
		return 0, edge.Usagef("--older-than %q: want days like 30d, or a duration like 12h", s)
	}
	return age, nil
}
