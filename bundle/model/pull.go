// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/diskspace"
	"github.com/metalpack/metalpack/internal/filelock"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// PullOptions says how [Pull] works. The zero value is useful.
type PullOptions struct {
	Name     string           // of the model, in messages; "" = its digest
	Include  []string         // doublestar patterns against the path or its last component; none = all files
	Parallel int              // files at once; 0 = bundle.DefaultParallel
	Events   bundle.EventFunc // progress; nil = none
}

// partial is the name, or its end, of the directory where files wait until all
// are there.
const partial = ".partial"

// Pull writes the files of a model into a directory, which must be absent,
// empty, or hold files of the same model alone; a link to one is followed. Nothing is visible in it before
// every file is there and verified: an absent directory appears by one rename,
// one that is there is filled by one rename per file. What a pull that failed
// has fetched is kept beside it, or in it, as .partial, and the next pull goes
// on from there. Archive layers are fetched anew. Errors: those of src and
// [Parse]; [bundle.ErrMismatch]; [*diskspace.Error] if there is no room for it;
// [bundle.ErrInvalid] if the directory holds something else, another pull fills
// it, or no file is included.
func Pull(ctx context.Context, src bundle.Source, root bundle.Descriptor, dir string, o PullOptions) (err error) {
	if err := CheckPatterns(o.Include); err != nil {
		return err
	}
	m, _, err := Read(ctx, src, root)
	if err != nil {
		return fmt.Errorf("model %s: %w", cmp.Or(o.Name, root.Digest.String()), err)
	}
	p := &pull{src: src, model: m, o: o, wanted: map[string]File{}}
	for _, f := range m.Files {
		if p.included(f.Path) {
			p.wanted[f.Path] = f
		}
	}
	if len(p.wanted)+len(m.Archives) == 0 {
		return invalid("no file of the model matches %q", o.Include)
	}
	if p.dir, err = target(dir); err != nil {
		return err
	}
	if err := p.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close(err)) }()
	return p.run(ctx)
}

// target is the directory that a name stands for: where a link leads, since
// models often lie on another disk. One that leads to nothing could not be
// replaced by a directory once all has come.
func target(dir string) (string, error) {
	there, err := filepath.EvalSymlinks(dir)
	switch {
	case err == nil:
		return there, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	if _, err := os.Lstat(dir); err == nil {
		return "", invalid("%s: a link that leads to nothing", dir)
	}
	return filepath.Clean(dir), nil
}

// pull is one pull into a directory.
type pull struct {
	src    bundle.Source
	model  *Model
	dir    string
	stage  string // where files wait; below dir if that exists
	exists bool   // dir was there; it may be a mount point or somebody's working directory
	o      PullOptions
	wanted map[string]File // by path
	done   bool            // stage is gone, and what has its name now is another's
	root   *os.Root        // stage
	unlock func() error
}

func (p *pull) included(path string) bool {
	return len(p.o.Include) == 0 || slices.ContainsFunc(p.o.Include, func(pattern string) bool { return matches(pattern, path) })
}

// open makes the staging directory and takes it for this process alone.
func (p *pull) open() error {
	info, err := os.Stat(p.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.stage = p.dir + partial
	case err != nil:
		return err
	case !info.IsDir():
		return invalid("%s: not a directory", p.dir)
	default:
		p.exists, p.stage = true, filepath.Join(p.dir, partial)
		if err := p.checkDir(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(p.stage, 0o755); err != nil {
		return err
	}
	if info, err := os.Lstat(p.stage); err != nil || !info.IsDir() {
		return invalid("%s: not a directory; remove it", p.stage)
	}
	if p.unlock, err = filelock.Try(p.stage, os.O_RDONLY); err != nil {
		return err
	}
	if p.unlock == nil {
		return invalid("another pull is filling %s", p.dir)
	}
	p.root, err = os.OpenRoot(p.stage)
	if err != nil {
		return errors.Join(err, p.unlock())
	}
	return nil
}

// close removes the staging directory if nothing in it is worth keeping.
func (p *pull) close(err error) error {
	if p.done {
		return errors.Join(p.root.Close(), p.unlock())
	}
	if err != nil && len(p.model.Archives) == 0 {
		if entries, rerr := os.ReadDir(p.stage); rerr == nil && len(entries) > 0 {
			p.o.Events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: "what came is kept in " + p.stage + "; the same command goes on from there"})
			return errors.Join(p.root.Close(), p.unlock())
		}
	}
	return errors.Join(os.RemoveAll(p.stage), p.root.Close(), p.unlock())
}

func (p *pull) run(ctx context.Context) error {
	missing, err := p.missing(ctx)
	if err != nil {
		return err
	}
	if len(missing)+len(p.model.Archives) == 0 {
		p.o.Events.Emit(bundle.Event{Kind: bundle.EventNote, What: p.dir, Reason: p.dir + ": every file is there and right"})
		return nil
	}
	if err := p.sweep(missing); err != nil {
		return err
	}
	if err := p.checkSpace(missing); err != nil {
		return err
	}
	if err := p.fetchAll(ctx, missing); err != nil {
		return err
	}
	if err := p.extractAll(ctx); err != nil {
		return err
	}
	if !p.exists {
		if err := syncTree(p.stage); err != nil {
			return err
		}
		err := fsatomic.Rename(p.stage, p.dir)
		p.done = err == nil
		return err
	}
	return p.moveAll()
}

// checkDir refuses a directory that holds anything but files of this model, or
// what a pull that was killed left.
func (p *pull) checkDir() error {
	return p.walk(p.dir, func(path string, d fs.DirEntry) error {
		f, ok := p.wanted[path]
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !ok || !info.Mode().IsRegular() || info.Size() != f.Descriptor.Size || len(p.model.Archives) > 0 {
			return invalid("directory %s: not empty (%s); name an empty or a new one", p.dir, path)
		}
		return nil
	})
}

// missing lists the files that dir does not hold. Those it holds must be right
// to the last byte.
func (p *pull) missing(ctx context.Context) ([]File, error) {
	have := map[string]bool{}
	if p.exists {
		err := p.walk(p.dir, func(path string, _ fs.DirEntry) error {
			have[path] = true
			if err := verifyFile(ctx, filepath.Join(p.dir, filepath.FromSlash(path)), p.wanted[path].Descriptor); err != nil {
				return invalid("directory %s: not empty, and %s is not the model's (%v); name an empty or a new one", p.dir, path, err)
			}
			return nil
		})
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, err
		}
	}
	var out []File
	for _, f := range p.model.Files {
		if _, ok := p.wanted[f.Path]; ok && !have[f.Path] {
			out = append(out, f)
		}
	}
	return out, nil
}

// walk visits all but directories below root and what lies in staging.
func (p *pull) walk(root string, visit func(path string, d fs.DirEntry) error) error {
	return filepath.WalkDir(root, func(disk string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && disk == filepath.Join(p.dir, partial) && disk != root:
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		rel, err := filepath.Rel(root, disk)
		if err != nil {
			return err
		}
		return visit(filepath.ToSlash(rel), d)
	})
}

// sweep removes from staging what is none of the files to come: it may be of
// another model, or of an archive.
func (p *pull) sweep(missing []File) error {
	wanted := map[string]bool{}
	for _, f := range missing {
		wanted[f.Path] = true
	}
	return p.walk(p.stage, func(path string, d fs.DirEntry) error {
		if wanted[path] && d.Type().IsRegular() {
			return nil
		}
		return p.root.Remove(filepath.FromSlash(path))
	})
}

// checkSpace refuses to begin what the disk has no room for. Of archives only
// what they are packed is known.
func (p *pull) checkSpace(missing []File) error {
	need := int64(0)
	for _, f := range missing {
		need += f.Descriptor.Size
		if info, err := p.root.Lstat(f.Path); err == nil {
			need -= min(info.Size(), f.Descriptor.Size)
		}
	}
	for _, a := range p.model.Archives {
		need += a.Descriptor.Size
	}
	return diskspace.Check(p.dir, need)
}

// fetchAll fetches files into staging, verified and synced.
func (p *pull) fetchAll(ctx context.Context, files []File) error {
	parallel := p.o.Parallel
	if parallel == 0 {
		parallel = bundle.DefaultParallel
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, f := range files {
		g.Go(func() error {
			if err := p.fetch(ctx, f); err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// moveAll moves every file from staging to its place in a directory that was
// there.
func (p *pull) moveAll() error {
	err := p.walk(p.stage, func(path string, _ fs.DirEntry) error {
		to := filepath.Join(p.dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.Rename(filepath.Join(p.stage, filepath.FromSlash(path)), to)
	})
	if err != nil {
		return err
	}
	if err := os.RemoveAll(p.stage); err != nil { // empty directories
		return err
	}
	p.done = true
	return syncTree(p.dir)
}

// syncTree makes the names in a directory and all below it durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(disk string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return fsatomic.SyncDir(disk)
	})
}
