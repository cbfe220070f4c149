// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/recipes"
)

type matrixOptions struct {
	changed string
	runners map[string]string
}

// matrix is the result of recipes matrix, as strategy.matrix of a GitHub
// workflow takes it.
type matrix struct {
	Include []matrixRow `json:"include"`
}

// matrixRow is one job.
type matrixRow struct {
	Recipe   string `json:"recipe"` // what build takes
	Name     string `json:"name"`
	Release  string `json:"release"`
	Platform string `json:"platform"`
	Floor    string `json:"floor"`
	Lock     string `json:"lock"`
	Runner   string `json:"runner"` // a machine that can run what is built
}

// maxPaths is the cap on a list of changed paths, in bytes.
const maxPaths = 64 << 20

func (a *app) newRecipesMatrixCmd() *cobra.Command {
	o := matrixOptions{}
	cmd := &cobra.Command{
		Use:   "matrix [RECIPE...]",
		Short: "print the recipes and their targets as a job matrix for CI",
		Long: "Print one object for each recipe and target, on one line, as a workflow's fromJSON and\n" +
			"strategy.matrix take it. With nothing to do that is {\"include\":[]}, which a workflow\n" +
			"has to ask for, since a matrix without jobs is an error there. RECIPE is a name, a\n" +
			"directory, or a directory of recipes; the default is all that are embedded.\n\n" +
			"With --changed BASE a recipe counts if 'git diff --name-only BASE' names a file of it\n" +
			"or of one that it extends; embedded recipes are looked for in recipes/ of the\n" +
			"repository. With --changed - the paths come from standard input, relative to the\n" +
			"working directory.",
		Example: "  metalpack recipes matrix recipes --changed origin/main...\n" +
			"  jobs=$(metalpack recipes matrix) && echo \"jobs=$jobs\" >>\"$GITHUB_OUTPUT\"",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return a.runRecipesMatrix(cmd.Context(), args, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.changed, "changed", "", "`revision` to compare with, or - for paths on standard input: leave out recipes that did not change")
	f.StringToStringVar(&o.runners, "runner", nil, "label of the machine for a platform, `PLATFORM=LABEL`, like linux/amd64=ubuntu-24.04; may be repeated")
	f.Lookup("runner").DefValue = "" // which help does not print
	return cmd
}

func (a *app) runRecipesMatrix(ctx context.Context, args []string, o matrixOptions) error {
	for platform := range o.runners {
		if _, err := bundle.ParsePlatform(platform); err != nil {
			return edge.Errorf(edge.ErrUsage, "--runner: %w", err)
		}
	}
	var root string
	var paths []string
	if o.changed != "" {
		var err error
		if root, paths, err = a.changedPaths(ctx, o.changed); err != nil {
			return err
		}
	}
	out := matrix{Include: []matrixRow{}}
	for _, name := range whichRecipes(args) {
		r, err := recipes.Load(name)
		if err != nil {
			return err
		}
		if o.changed != "" && !touched(r, root, paths) {
			continue
		}
		for _, t := range r.Targets {
			out.Include = append(out.Include, matrixRow{
				Recipe: filepath.ToSlash(name), Name: r.Name, Release: r.Release,
				Platform: t.Platform, Floor: t.Bundle().Floor(), Lock: t.Lock, Runner: o.runner(t),
			})
		}
	}
	enc := json.NewEncoder(a.Env.Stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(out) // on one line: $GITHUB_OUTPUT takes no more
}

// runner names one of GitHub's machines on which a target's environment runs.
func (o matrixOptions) runner(t recipes.Target) string {
	if label, ok := o.runners[t.Platform]; ok {
		return label
	}
	switch t.Platform {
	case "linux/arm64":
		return "ubuntu-24.04-arm"
	case "linux/amd64":
		return "ubuntu-24.04"
	}
	major, _, _ := strings.Cut(t.OS, ".")
	if n, err := strconv.Atoi(major); err == nil && n > 15 {
		return "macos-" + major
	}
	return "macos-15" // the oldest there is for arm64
}

// changedPaths returns the paths that changed and the directory that they are
// relative to.
func (a *app) changedPaths(ctx context.Context, base string) (root string, paths []string, err error) {
	var list []byte
	if base == "-" {
		if list, err = ctxio.Wait(ctx, func() ([]byte, error) { return readPaths(a.Env.Stdin) }); err != nil {
			return "", nil, fmt.Errorf("--changed -: %w", err)
		}
		return ".", splitPaths(list, "\n"), nil
	}
	if strings.HasPrefix(base, "-") {
		return "", nil, edge.Usagef("--changed %q: want a revision, or - for standard input", base)
	}
	top, err := git(ctx, "rev-parse", "--show-toplevel")
	if err == nil {
		list, err = git(ctx, "diff", "--name-only", "--no-renames", "-z", base, "--")
	}
	if err != nil {
		return "", nil, edge.WithHint(fmt.Errorf("--changed %s: %w", base, err),
			"name a revision that this clone has, or pipe the paths: git diff --name-only BASE | metalpack recipes matrix --changed -")
	}
	return strings.TrimSuffix(string(top), "\n"), splitPaths(list, "\x00"), nil
}

// git runs git and returns what it prints.
func git(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	var words bytes.Buffer
	cmd.Stderr = &words
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	list, readErr := readPaths(out)
	if readErr != nil {
		_ = cmd.Process.Kill() // it may wait for us to read on
	}
	err = cmd.Wait()
	switch first, _, _ := strings.Cut(strings.TrimSpace(words.String()), "\n"); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case readErr != nil:
		return nil, readErr
	case err != nil && first != "":
		return nil, errors.New("git: " + first)
	case err != nil:
		return nil, fmt.Errorf("git %s: %w", args[0], err)
	}
	return list, nil
}

func readPaths(from io.Reader) ([]byte, error) {
	list, err := io.ReadAll(io.LimitReader(from, maxPaths+1))
	if err == nil && len(list) > maxPaths {
		err = fmt.Errorf("more than %d bytes of paths: %w", maxPaths, bundle.ErrInvalid)
	}
	return list, err
}

// splitPaths reads a list of paths; in lines, git quotes those with unusual
// characters.
func splitPaths(list []byte, end string) []string {
	var paths []string
	for p := range strings.SplitSeq(string(list), end) {
		p = strings.TrimSuffix(p, "\r")
		if quoted, err := strconv.Unquote(p); err == nil && strings.HasPrefix(p, `"`) {
			p = quoted
		}
		if p != "" {
			paths = append(paths, p)
		}
	}
	return paths
}

// touched reports whether a file at one of the paths, relative to root, belongs
// to a recipe or to one that it extends.
func touched(r *recipes.Recipe, root string, paths []string) bool {
	root = realDir(root)
	for _, dir := range r.Dirs(root) {
		dir = realDir(dir)
		for _, p := range paths {
			rel, err := filepath.Rel(dir, filepath.Join(root, filepath.FromSlash(p)))
			if err == nil && filepath.IsLocal(rel) {
				return true
			}
		}
	}
	return false
}

// realDir is the absolute path of a directory, without links if it is there.
func realDir(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	return dir
}
