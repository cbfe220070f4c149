// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
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

type fetchOptions struct {
	inputOptions
	into, to string
}

func (a *app) newFetchCmd() *cobra.Command {
	o := fetchOptions{}
	cmd := &cobra.Command{
		Use:   "fetch RECIPE",
		Short: "fetch every input of a recipe into the cache",
		Long: "Fetch the interpreter and the wheels that the locks name, by sha256, into the cache.\n" +
			"After it a build needs neither a network nor uv. stdout gets a line per file: sha256,\n" +
			"platform, name.\n\n" +
			"--into makes a wheelhouse of them: DIR/wheels, DIR/interpreters, and a lock that pip\n" +
			"and uv install from offline. --to archives them at a destination, as blobs of one OCI\n" +
			"artifact, from which --inputs-from reads; stdout gets its REFERENCE@DIGEST alone.",
		Example: "  metalpack fetch mlx-lm --platform darwin/arm64\n" +
			"  metalpack fetch mlx-lm --platform linux/amd64 --into wheelhouse\n" +
			"  metalpack fetch vllm-metal --to docker://registry.example.com/team/inputs:0.30.0",
		Args: exactArgs("RECIPE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runFetch(cmd.Context(), args[0], o) },
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&o.into, "into", "", "`directory` to make a wheelhouse in")
	cmd.Flags().StringVar(&o.to, "to", "", "`destination` of an archive: docker://REF, oci:DIR[:tag] or oci-archive:FILE[:NAME]")
	return cmd
}

func (a *app) runFetch(ctx context.Context, name string, o fetchOptions) error {
	if err := o.validate(); err != nil {
		return err
	}
	var dest bundle.Reference
	switch {
	case o.into != "" && o.to != "":
		return edge.Usagef("fetch: --into and --to exclude each other")
	case o.to != "":
		var err error
		if dest, err = parseDest("fetch", "--to", o.to, ""); err != nil {
			return err
		}
	}
	r, err := recipes.Load(name)
	if err != nil {
		return err
	}
	all, err := gather(r, o.platforms)
	if err != nil {
		return err
	}
	if err := a.fetch(ctx, r, all, o.inputOptions); err != nil {
		return err
	}
	switch {
	case o.to != "":
		return a.archiveInputs(ctx, all, dest)
	case o.into != "":
		if err := a.wheelhouse(ctx, all, o.into); err != nil {
			return err
		}
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
	return a.Result(rows, text.String())
}

// archiveInputs writes all inputs as one artifact.
func (a *app) archiveInputs(ctx context.Context, all []*targetInputs, dest bundle.Reference) error {
	cache, err := a.inputCache()
	if err != nil {
		return err
	}
	var wants []inputs.Want
	for _, t := range all {
		wants = append(wants, t.wants...)
	}
	p, err := inputs.Pack(cache, wants)
	if err != nil {
		return err
	}
	return a.deliver(ctx, p, p.Root(), dest)
}

// wheelhouse copies all inputs into a directory; their paths are those there
// from then on. The locks come last: what they name is there.
func (a *app) wheelhouse(ctx context.Context, all []*targetInputs, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	cache, err := a.inputCache()
	if err != nil {
		return err
	}
	house := inputs.Wheelhouse{Dir: dir, Events: a.Events()}
	for _, t := range all {
		if err := house.Put(ctx, cache, t.wants); err != nil {
			return fmt.Errorf("%s: %w", t.target.Platform, err)
		}
		for _, w := range t.wants {
			t.paths[w.SHA256] = house.Path(w)
		}
	}
	for _, t := range all {
		tgt, err := lock.ForTarget(t.target)
		if err != nil {
			return err
		}
		name := "pylock.toml"
		if len(all) > 1 { // each as the recipe names it
			name = filepath.Base(t.target.Lock)
		}
		if err := house.PutLock(name, lock.Wheelhouse(tgt, t.wheels)); err != nil {
			return edge.WithHint(err, "name a directory of its own with --into")
		}
		a.Note("%s: %s, %d wheels", t.target.Platform, filepath.Join(dir, name), len(t.wheels))
	}
	return nil
}
