// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// parallelFiles is how many files are read at once.
const parallelFiles = 4

// Options says how [Tree] looks. The zero value compares names, types, modes
// and sizes.
type Options struct {
	Deep   bool               // read every file and compare its sha256
	Extra  []bundle.TreeEntry // files that belong there besides those of the tree
	Allow  []string           // paths that may be there, whatever they hold
	Events bundle.EventFunc   // progress; nil = none
}

// checker is one run of Tree.
type checker struct {
	dir   string
	deep  bool
	mu    sync.Mutex
	out   Report
	event bundle.Event
	emit  bundle.EventFunc
}

// Tree compares the files under dir with tree, whose own file is expected at
// [bundle.TreePath]. It looks at everything and collects what is wrong, sorted
// by path; when ctx ends, its cause is the last failure.
func Tree(ctx context.Context, dir string, tree *bundle.Tree, o Options) Report {
	entries := append(slices.Clone(tree.Entries), treeRow(tree))
	entries = append(entries, o.Extra...)
	c := &checker{dir: dir, deep: o.Deep, emit: o.Events, event: bundle.Event{What: "files of " + filepath.Base(dir)}}
	for _, e := range entries {
		c.event.Size += e.Size
	}
	c.send(bundle.EventStarted)
	var g errgroup.Group
	g.SetLimit(parallelFiles)
	for _, e := range entries {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { c.check(e); return nil })
	}
	_ = g.Wait() // failures are in the report
	c.extras(entries, o.Allow)
	sort.Slice(c.out.Failures, func(i, j int) bool { return c.out.Failures[i].Path < c.out.Failures[j].Path })
	if ctx.Err() != nil {
		c.fail(dir, "all files looked at", "interrupted", context.Cause(ctx))
	}
	if len(c.out.Failures) == 0 {
		c.event.Offset = c.event.Size
		c.send(bundle.EventDone)
	}
	return c.out
}

// treeRow describes the file that holds the tree.
func treeRow(tree *bundle.Tree) bundle.TreeEntry {
	data := tree.Encode()
	return bundle.TreeEntry{
		Path: bundle.TreePath, Mode: bundle.ModeFile, Size: int64(len(data)),
		SHA256: bundle.TreeDigest(data).Encoded(), Layer: bundle.MetadataLayer,
	}
}

func (c *checker) send(kind bundle.EventKind) {
	c.event.Kind = kind
	c.emit.Emit(c.event)
}

func (c *checker) fail(p, want, got string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.Failures = append(c.out.Failures, Failure{Path: p, Want: want, Got: got, Err: err})
}

// check looks at one file or link.
func (c *checker) check(e bundle.TreeEntry) {
	c.mu.Lock()
	c.out.Checked++
	c.out.Bytes += e.Size
	c.mu.Unlock()
	name := filepath.Join(c.dir, filepath.FromSlash(e.Path))
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.fail(e.Path, describe(e), "missing", bundle.ErrNotFound)
		return
	case err != nil:
		c.fail(e.Path, describe(e), "unreadable", err)
		return
	case e.IsLink():
		c.checkLink(e, name, info)
		return
	}
	want := fmt.Sprintf("a file of %d bytes, mode %04o", e.Size, installedMode(e))
	got := fmt.Sprintf("%s of %d bytes, mode %04o", kind(info), info.Size(), info.Mode().Perm())
	if want != got {
		c.fail(e.Path, want, got, bundle.ErrMismatch)
		return
	}
	if !c.deep {
		return
	}
	sum, err := HashFile(name)
	if err != nil {
		c.fail(e.Path, describe(e), "unreadable", err)
	} else if sum != e.SHA256 {
		c.fail(e.Path, "sha256 "+e.SHA256, "sha256 "+sum, bundle.ErrMismatch)
	}
}

func (c *checker) checkLink(e bundle.TreeEntry, name string, info fs.FileInfo) {
	got := kind(info)
	if info.Mode().Type() == fs.ModeSymlink {
		target, err := os.Readlink(name)
		if err != nil {
			c.fail(e.Path, describe(e), "unreadable", err)
			return
		}
		got = "a symlink to " + target
	}
	if want := describe(e); want != got {
		c.fail(e.Path, want, got, bundle.ErrMismatch)
	}
}

// extras looks for names that do not belong there.
func (c *checker) extras(entries []bundle.TreeEntry, allow []string) {
	known := make(map[string]bool, 2*len(entries))
	for _, p := range allow {
		known[p] = true
	}
	for _, e := range entries {
		known[e.Path] = true
	}
	err := filepath.WalkDir(c.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(c.dir, name)
		if p := filepath.ToSlash(rel); err == nil && !d.IsDir() && !known[p] {
			c.fail(p, "nothing", "a file that does not belong there", bundle.ErrInvalid)
		}
		return err
	})
	if err != nil {
		c.fail(c.dir, "a readable directory", err.Error(), err)
	}
}

// installedMode is the mode of an installed file: nobody writes to it.
func installedMode(e bundle.TreeEntry) fs.FileMode { return fs.FileMode(e.Mode) & 0o555 }

func describe(e bundle.TreeEntry) string {
	if e.IsLink() {
		return "a symlink to " + e.Target
	}
	return "sha256 " + e.SHA256
}

func kind(info fs.FileInfo) string {
	switch {
	case info.Mode().IsRegular():
		return "a file"
	case info.IsDir():
		return "a directory"
	case info.Mode().Type() == fs.ModeSymlink:
		return "a symlink"
	}
	return "something else"
}

// HashFile returns the sha256 of a regular file, in hex.
func HashFile(name string) (sum string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer fsatomic.CloseErr(&err, f)
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
