// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// PullOptions says how [Pull] works. The zero value is useful.
type PullOptions struct {
	Parallel int              // files at once; 0 = bundle.DefaultParallel
	Events   bundle.EventFunc // progress; nil = none
}

// Pull writes the files of a model into a directory, which must be empty or
// absent. Nothing is visible in it before every file is there and verified: an
// absent directory appears by one rename, an empty one is filled by one rename
// per name. Errors: those of src and [Parse]; [bundle.ErrMismatch];
// [bundle.ErrInvalid] if the directory holds something.
func Pull(ctx context.Context, src bundle.Source, root bundle.Descriptor, dir string, o PullOptions) (err error) {
	m, _, err := Read(ctx, src, root)
	if err != nil {
		return err
	}
	exists, err := checkEmpty(dir)
	if err != nil {
		return err
	}
	stage := filepath.Clean(dir) + ".partial"
	if exists { // it may be a mount point or somebody's working directory: keep it
		stage = filepath.Join(dir, ".partial")
	}
	if err := os.MkdirAll(filepath.Dir(stage), 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(stage); err != nil { // of a pull that was killed
		return err
	}
	if err := os.Mkdir(stage, 0o755); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	if err := m.fill(ctx, src, stage, o); err != nil {
		return err
	}
	if !exists {
		return fsatomic.Rename(stage, dir)
	}
	return moveAll(stage, dir)
}

// checkEmpty reports whether dir exists; it must not hold anything but what a
// killed pull left.
func checkEmpty(dir string) (exists bool, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	for _, e := range entries {
		if e.Name() != ".partial" {
			return true, invalid("directory %s: not empty (%s); name an empty or a new one", dir, e.Name())
		}
	}
	return true, nil
}

func moveAll(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return fsatomic.SyncDir(to)
}

// fill writes all files below dir, verified and synced.
func (m *Model) fill(ctx context.Context, src bundle.Source, dir string, o PullOptions) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, root)
	if o.Parallel == 0 {
		o.Parallel = bundle.DefaultParallel
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Parallel)
	for _, f := range m.Files {
		g.Go(func() error {
			if err := fetchFile(ctx, src, root, f, o.Events); err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return fsatomic.SyncDir(dir)
}

func fetchFile(ctx context.Context, src bundle.Source, root *os.Root, f File, events bundle.EventFunc) (err error) {
	if dir := path.Dir(f.Path); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	out, err := root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, out)
	e := bundle.Event{Kind: bundle.EventStarted, What: f.Path, Digest: f.Descriptor.Digest.String(), Size: f.Descriptor.Size}
	events.Emit(e)
	in, err := src.Open(ctx, f.Descriptor, 0)
	if err != nil {
		return err
	}
	in = bundle.WithProgress(in, e, events)
	defer fsatomic.CloseErr(&err, in)
	if _, err := io.Copy(out, bundle.NewVerifier(ctxio.Reader(ctx, in), f.Descriptor)); err != nil {
		return err
	}
	e.Kind, e.Offset = bundle.EventDone, f.Descriptor.Size
	events.Emit(e)
	return out.Sync()
}
