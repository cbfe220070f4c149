// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// FileName is the recipe in its directory.
const FileName = "recipe.yaml"

// Caps on what is read from a recipe's directory.
const (
	maxRecipe  = 128 << 10 // bytes of recipe.yaml; the decoder compares each key with all before it
	maxFile    = 4 << 20   // bytes of a lock or requirements file
	maxExtends = 8         // recipes above one another
)

//go:embed */recipe.yaml */requirements.in */pylock.*.toml
var shipped embed.FS

// Names lists the embedded recipes, sorted.
func Names() []string {
	entries, err := shipped.ReadDir(".")
	if err != nil {
		return nil // an embedded directory is always readable
	}
	var names []string
	for _, e := range entries {
		if _, err := fs.Stat(shipped, path.Join(e.Name(), FileName)); err == nil {
			names = append(names, e.Name())
		}
	}
	return names
}

// Below lists the directories right below dir that hold a recipe, as paths that
// begin with dir, sorted.
func Below(dir string) []string {
	found, err := fs.Glob(os.DirFS(dir), "*/"+FileName)
	if err != nil {
		return nil // the pattern is one
	}
	for i := range found {
		found[i] = onDisk(filepath.Join(dir, path.Dir(found[i])))
	}
	return found
}

// onDisk is a directory as Load takes it for one, be it called like an embedded
// recipe.
func onDisk(dir string) string {
	if slices.Contains(Names(), dir) {
		return "." + string(filepath.Separator) + dir
	}
	return dir
}

// place is a directory of a recipe, embedded or on disk.
type place struct {
	fs    fs.FS
	dir   string // "" when embedded
	label string // for messages: "recipes/demo", "embedded mlx-lm"
}

func (p place) path(name string) string { return filepath.Join(p.dir, filepath.FromSlash(name)) }

// embeddedLabel begins the label of an embedded recipe.
const embeddedLabel = "embedded "

// file names one of its files in messages.
func (p place) file(name string) string {
	if p.dir != "" {
		return p.path(name)
	}
	return p.label + "/" + name
}

// Load reads, merges and validates the recipe in a directory, which its file
// stands for too, or the embedded recipe of that name; a bare word that is both
// is the embedded one. Errors wrap [bundle.ErrNotFound] and list the known
// recipes, or [bundle.ErrInvalid]; what is wrong in a file is an [*Error], or
// several joined.
func Load(nameOrDir string) (*Recipe, error) {
	if filepath.Base(nameOrDir) == FileName && isFile(nameOrDir) {
		nameOrDir = onDisk(filepath.Dir(nameOrDir))
	}
	at, err := find(nameOrDir)
	if err != nil {
		return nil, err
	}
	r, err := loadChain(at, nil)
	if err != nil {
		return nil, err
	}
	r.setDefaults()
	if err := r.Validate(); err != nil {
		return nil, err // names file and place
	}
	return r, nil
}

// find decides what a name means.
func find(nameOrDir string) (place, error) {
	if slices.Contains(Names(), nameOrDir) {
		return embedded(nameOrDir)
	}
	info, err := os.Stat(nameOrDir)
	if err == nil && info.IsDir() {
		at := place{fs: os.DirFS(nameOrDir), dir: nameOrDir, label: nameOrDir}
		if _, err := fs.Stat(at.fs, FileName); err == nil {
			return at, nil
		}
		return place{}, fmt.Errorf("recipe %q: the directory has no %s: %w", nameOrDir, FileName, bundle.ErrNotFound)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(nameOrDir, `/\`) {
		return place{}, fmt.Errorf("recipe %q: %w", nameOrDir, err)
	}
	if isFile(nameOrDir) {
		return place{}, fmt.Errorf("recipe %q: a file, where a recipe is the directory that holds %s: %w", nameOrDir, FileName, bundle.ErrNotFound)
	}
	return place{}, fmt.Errorf("recipe %q: no such directory, and no recipe of that name (known are %s): %w",
		nameOrDir, strings.Join(Names(), ", "), bundle.ErrNotFound)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

func embedded(name string) (place, error) {
	sub, err := fs.Sub(shipped, name)
	if err != nil {
		return place{}, fmt.Errorf("recipe %q: %w", name, err)
	}
	return place{fs: sub, label: embeddedLabel + name}, nil
}

// loadChain reads the recipe at a place and, below it, what it extends. Above
// holds the labels of the recipes that lead here.
func loadChain(at place, above []string) (*Recipe, error) {
	data, err := readFile(at, FileName, maxRecipe)
	if err != nil {
		return nil, err
	}
	r, err := decode(at.file(FileName), data)
	if err != nil {
		return nil, err
	}
	r.settle(at)
	if r.Extends == "" {
		return r, nil
	}
	next, err := r.parent(at)
	if err != nil {
		return nil, r.Because("extends", err)
	}
	above = append(above, at.label)
	if slices.Contains(above, next.label) || len(above) >= maxExtends {
		return nil, r.Fault("extends", "%s: a circle, or more than %d recipes", strings.Join(append(above, next.label), " -> "), maxExtends)
	}
	base, err := loadChain(next, above)
	if err != nil {
		return nil, err
	}
	return merge(base, r), nil
}

// parent finds what the recipe at a place extends.
func (r *Recipe) parent(at place) (place, error) {
	if !strings.HasPrefix(r.Extends, ".") && !filepath.IsAbs(r.Extends) {
		if !slices.Contains(Names(), r.Extends) {
			return place{}, fmt.Errorf("%q: no recipe of that name (known are %s; a path begins with a dot or a slash): %w",
				r.Extends, strings.Join(Names(), ", "), bundle.ErrNotFound)
		}
		return embedded(r.Extends)
	}
	if at.dir == "" {
		return place{}, fmt.Errorf("%q: an embedded recipe extends by name: %w", r.Extends, bundle.ErrInvalid)
	}
	dir := r.Extends
	if !filepath.IsAbs(dir) {
		dir = at.path(dir)
	}
	return find(dir)
}

// settle records that all files the recipe names lie beside it.
func (r *Recipe) settle(at place) {
	r.home, r.chain, r.origin = at, []place{at}, make(map[string]place)
	if r.Requirements != "" {
		r.origin[r.Requirements] = at
	}
	for _, t := range r.Targets {
		if t.Lock != "" {
			r.origin[t.Lock] = at
		}
	}
}

// ReadFile reads a file that the recipe names, from the recipe that named it.
// A file that no recipe names is looked for beside the recipe itself. The
// error wraps [bundle.ErrNotFound] or [bundle.ErrInvalid].
func (r *Recipe) ReadFile(name string) ([]byte, error) {
	return readFile(r.place(name), name, maxFile)
}

// PathOf returns where a named file lies on disk, "" when it is embedded.
func (r *Recipe) PathOf(name string) string {
	at := r.place(name)
	if at.dir == "" {
		return ""
	}
	return at.path(name)
}

func (r *Recipe) place(name string) place {
	if at, ok := r.origin[name]; ok {
		return at
	}
	return r.home
}

// readFile reads at most limit bytes of a file at a place.
func readFile(at place, name string, limit int64) (_ []byte, err error) {
	if err := bundle.CheckPath(name); err != nil {
		return nil, fmt.Errorf("%s: %w", at.file(FileName), err)
	}
	info, err := fs.Stat(at.fs, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", at.file(name), bundle.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at.file(name), err)
	}
	if !info.Mode().IsRegular() { // to open a FIFO takes until somebody writes
		return nil, fmt.Errorf("%s: not a regular file: %w", at.file(name), bundle.ErrInvalid)
	}
	f, err := at.fs.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at.file(name), err)
	}
	defer fsatomic.CloseErr(&err, f)
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at.file(name), err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes: %w", at.file(name), limit, bundle.ErrInvalid)
	}
	return data, nil
}
