// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/unpack"
	"github.com/metalpack/metalpack/internal/fsatomic"
	"github.com/metalpack/metalpack/verify"
)

// parallel is how many layers are unpacked, and files looked at, at once.
const parallel = 4

// filler fills a directory from sources by sha256.
type filler struct {
	home   *Home
	art    *artifact
	dir    string // staging/<id>
	events bundle.EventFunc

	mu      sync.Mutex
	missing map[string]bundle.TreeEntry // by path
	kept    int64                       // bytes that staging had already
	reused  int64                       // bytes that came from other versions
}

// fill makes dir hold exactly the files of the tree.
func (f *filler) fill(ctx context.Context) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	if err := f.keep(ctx); err != nil {
		return err
	}
	if err := f.home.reached("kept"); err != nil {
		return err
	}
	if err := f.reuse(ctx); err != nil {
		return err
	}
	if err := f.home.reached("reused"); err != nil {
		return err
	}
	if err := f.checkSpace(); err != nil {
		return err
	}
	if err := f.writeMetadata(); err != nil {
		return err
	}
	return f.fetch(ctx)
}

// keep looks at what a broken attempt left: right files stay, all else goes.
func (f *filler) keep(ctx context.Context) error {
	f.missing = make(map[string]bundle.TreeEntry, len(f.art.tree.Entries))
	for _, e := range f.art.tree.Entries {
		f.missing[e.Path] = e
	}
	var g errgroup.Group
	g.SetLimit(parallel)
	err := filepath.WalkDir(f.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rel, err := filepath.Rel(f.dir, name)
		if err != nil {
			return err
		}
		g.Go(func() error { return f.keepOne(filepath.ToSlash(rel), name) })
		return nil
	})
	if err := errors.Join(g.Wait(), err); err != nil {
		return err
	}
	if f.kept > 0 {
		f.events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: fmt.Sprintf("continuing an install that did not finish: %s are here already", humanize.Bytes(uint64(f.kept)))})
	}
	return nil
}

func (f *filler) keepOne(p, name string) error {
	e, ok := f.art.tree.Find(p)
	if ok && matches(name, e) {
		f.found(e, &f.kept)
		if e.IsLink() {
			return nil
		}
		return os.Chmod(name, unpack.InstalledMode(e))
	}
	return os.Remove(name)
}

// found takes an entry off the list of what is missing.
func (f *filler) found(e bundle.TreeEntry, counter *int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.missing, e.Path)
	*counter += e.Size
}

// matches reports whether name is what e says, by content.
func matches(name string, e bundle.TreeEntry) bool {
	info, err := os.Lstat(name)
	if err != nil {
		return false
	}
	if e.IsLink() {
		target, err := os.Readlink(name)
		return err == nil && target == e.Target
	}
	if !info.Mode().IsRegular() || info.Size() != e.Size {
		return false
	}
	sum, err := verify.HashFile(name)
	return err == nil && sum == e.SHA256
}

// reuse takes files from installed versions of any environment.
func (f *filler) reuse(ctx context.Context) error {
	sources, err := f.home.filesBySHA256(f.missing)
	if err != nil {
		return err
	}
	// What is to be repaired holds its own files, also when it lost its tree.
	if own := f.home.VersionDir(f.art.env.Name, f.art.id); exists(own) {
		for _, e := range f.missing {
			sources[e.SHA256] = append(sources[e.SHA256], filepath.Join(own, filepath.FromSlash(e.Path)))
		}
	}
	f.mu.Lock()
	var todo []bundle.TreeEntry
	for _, e := range f.missing {
		if len(sources[e.SHA256]) > 0 && !e.IsLink() {
			todo = append(todo, e)
		}
	}
	f.mu.Unlock()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, e := range todo {
		g.Go(func() error {
			if gctx.Err() != nil {
				return context.Cause(gctx)
			}
			return f.reuseOne(e, sources[e.SHA256])
		})
	}
	return g.Wait()
}

// reuseOne links or copies one file from the first source that is still right.
func (f *filler) reuseOne(e bundle.TreeEntry, sources []string) error {
	to := filepath.Join(f.dir, filepath.FromSlash(e.Path))
	for _, from := range sources {
		if !matches(from, e) {
			continue // damaged there; another source has it, or the artifact
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		info, err := os.Lstat(from)
		linked := err == nil && linkable(e) && info.Mode().Perm() == unpack.InstalledMode(e) && os.Link(from, to) == nil
		if !linked {
			if err := copyFile(from, to, unpack.InstalledMode(e)); err != nil {
				return err
			}
		}
		if !matches(to, e) {
			return errors.Join(fmt.Errorf("%s: changed while it was copied: %w", from, bundle.ErrMismatch), os.Remove(to))
		}
		f.found(e, &f.reused)
		return nil
	}
	return nil
}

// linkable reports whether versions may share the inode. macOS keeps its
// verdict on a library per inode, so a shared one is not checked again; but it
// sometimes kills a program that is a link just made (PYTHON.md section 9).
func linkable(e bundle.TreeEntry) bool {
	library := strings.HasSuffix(e.Path, ".so") || strings.HasSuffix(e.Path, ".dylib") || strings.Contains(path.Base(e.Path), ".so.")
	return library || e.Mode != bundle.ModeExecutable
}

func copyFile(from, to string, mode fs.FileMode) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, in)
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, out)
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Chmod(mode)
}

// writeMetadata writes the metadata layer's files, which are in memory.
func (f *filler) writeMetadata() error {
	for p, data := range f.art.metadata {
		e, listed := f.art.tree.Find(p)
		if _, missing := f.missing[p]; listed && !missing {
			continue
		}
		name := filepath.Join(f.dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := fsatomic.WriteFile(name, data, unpack.InstalledMode(e)); err != nil {
			return err
		}
		delete(f.missing, p)
	}
	return nil
}

// fetch unpacks the layers that hold missing files.
func (f *filler) fetch(ctx context.Context) (err error) {
	wanted := map[string]bool{}
	for _, e := range f.missing {
		if e.IsLink() {
			continue // the tree says all about it
		}
		if _, ok := f.art.layers[e.Layer]; !ok {
			return fmt.Errorf("tree: %q is in layer %q, which the manifest does not have: %w", e.Path, e.Layer, bundle.ErrInvalid)
		}
		wanted[e.Layer] = true
	}
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, root)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, desc := range f.art.manifest.Layers {
		layer := desc.Annotations[bundle.AnnotationLayer]
		if layer == bundle.MetadataLayer {
			continue
		}
		if !wanted[layer] {
			f.events.Emit(bundle.Event{Kind: bundle.EventSkipped, What: bundle.Label(desc), Digest: desc.Digest.String(), Size: desc.Size, Reason: "all its files are here"})
			continue
		}
		g.Go(func() error { return f.fetchLayer(gctx, root, desc) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := f.home.reached("fetched"); err != nil {
		return err
	}
	return f.link(root)
}

// link makes the symlinks, last, so that nothing is ever written through one.
func (f *filler) link(root *os.Root) error {
	for p, e := range f.missing {
		if !e.IsLink() {
			continue
		}
		if err := root.MkdirAll(path.Dir(p), 0o755); err != nil {
			return err
		}
		if err := root.Symlink(e.Target, p); err != nil {
			return err
		}
	}
	return nil
}

func (f *filler) fetchLayer(ctx context.Context, root *os.Root, desc bundle.Descriptor) (err error) {
	rc, err := f.art.open(ctx, desc, f.events)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, rc)
	// missing is only read from here on.
	_, err = unpack.Layer(ctx, rc, desc, unpack.Options{
		Name: f.art.env.Name, Tree: f.art.tree, Root: root,
		Want: func(e bundle.TreeEntry) bool { _, ok := f.missing[e.Path]; return ok && !e.IsLink() },
	})
	if err == nil {
		f.events.Emit(bundle.Event{Kind: bundle.EventDone, What: bundle.Label(desc), Digest: desc.Digest.String(), Offset: desc.Size, Size: desc.Size})
	}
	return err
}
