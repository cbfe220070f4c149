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
	"syscall"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// fetch writes one file into staging. What an earlier pull left of it is read
// again and goes into the digest; if the whole is wrong then, it is fetched
// anew once.
func (p *pull) fetch(ctx context.Context, f File) error {
	if dir := path.Dir(f.Path); dir != "." {
		if err := p.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	kept := int64(0)
	if info, err := p.root.Lstat(f.Path); err == nil {
		kept = info.Size()
	}
	if kept > f.Descriptor.Size {
		kept = 0
	}
	err := p.stream(ctx, f, kept)
	if errors.Is(err, bundle.ErrMismatch) && kept > 0 {
		p.o.Events.Emit(bundle.Event{Kind: bundle.EventRetry, What: f.Path, Digest: f.Descriptor.Digest.String(), Size: f.Descriptor.Size, Attempt: 2, Reason: "what was kept is damaged"})
		err = p.stream(ctx, f, 0)
	}
	if errors.Is(err, bundle.ErrMismatch) {
		return errors.Join(err, p.root.Remove(f.Path)) // nothing of it can be used
	}
	return err
}

// stream fetches a file from byte kept on, behind what is there.
func (p *pull) stream(ctx context.Context, f File, kept int64) (err error) {
	out, err := p.root.OpenFile(f.Path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, out)
	if err := out.Truncate(kept); err != nil {
		return err
	}
	e := bundle.Event{Kind: bundle.EventStarted, What: f.Path, Digest: f.Descriptor.Digest.String(), Offset: kept, Size: f.Descriptor.Size}
	p.o.Events.Emit(e)
	whole := io.Reader(io.NewSectionReader(out, 0, kept))
	if kept < f.Descriptor.Size || kept == 0 {
		in, err := p.src.Open(ctx, f.Descriptor, kept)
		if err != nil {
			return err
		}
		in = bundle.WithProgress(in, e, p.o.Events)
		defer fsatomic.CloseErr(&err, in)
		whole = io.MultiReader(whole, in)
	}
	tail := &tailWriter{w: io.NewOffsetWriter(out, kept), skip: kept}
	if _, err := io.Copy(tail, bundle.NewVerifier(ctxio.Reader(ctx, whole), f.Descriptor)); err != nil {
		return err
	}
	e.Kind, e.Offset = bundle.EventDone, f.Descriptor.Size
	p.o.Events.Emit(e)
	return out.Sync()
}

// tailWriter drops the bytes that are there already.
type tailWriter struct {
	w    io.Writer
	skip int64
}

// Write implements io.Writer.
func (t *tailWriter) Write(b []byte) (int, error) {
	drop := min(int64(len(b)), t.skip)
	t.skip -= drop
	n, err := t.w.Write(b[drop:])
	return int(drop) + n, err
}

// verifyFile reads a file on disk against a descriptor.
func verifyFile(ctx context.Context, disk string, desc bundle.Descriptor) (err error) {
	in, err := os.Open(disk)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, in)
	_, err = io.Copy(io.Discard, bundle.NewVerifier(ctxio.Reader(ctx, in), desc))
	return err
}

// extractAll writes the files of archive layers into staging, one layer after
// the other.
func (p *pull) extractAll(ctx context.Context) error {
	var entries []bundle.TreeEntry
	for _, f := range p.model.Files {
		entries = append(entries, bundle.TreeEntry{Path: f.Path})
	}
	for _, a := range p.model.Archives {
		d := a.Descriptor
		e := bundle.Event{Kind: bundle.EventStarted, What: "archive " + d.Digest.Encoded()[:12], Digest: d.Digest.String(), Size: d.Size}
		p.o.Events.Emit(e)
		err := a.each(ctx, p.src, func(path string, _ int64, r io.Reader) error {
			if entries = append(entries, bundle.TreeEntry{Path: path}); len(entries) > maxArchiveFiles {
				return invalid("tar: more than %d files in all", maxArchiveFiles)
			}
			if !p.included(path) {
				return nil
			}
			return p.extract(path, r)
		})
		if err != nil {
			return err
		}
		e.Kind, e.Offset = bundle.EventDone, d.Size
		p.o.Events.Emit(e)
	}
	if len(p.model.Archives) == 0 {
		return nil
	}
	return bundle.CheckCollisions(entries)
}

// extract writes one file of an archive. It must be there by no other layer.
func (p *pull) extract(name string, r io.Reader) (err error) {
	if dir := path.Dir(name); dir != "." {
		if err := p.root.MkdirAll(dir, 0o755); err != nil {
			return collides(name, err)
		}
	}
	out, err := p.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return collides(name, err)
	}
	defer fsatomic.CloseErr(&err, out)
	if _, err := io.Copy(diskWriter{out}, r); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return &writeError{err}
	}
	return nil
}

// diskWriter tells errors of the disk from those of what is read.
type diskWriter struct{ w io.Writer }

// Write implements io.Writer.
func (d diskWriter) Write(b []byte) (int, error) {
	n, err := d.w.Write(b)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// collides says whether a name cannot be made because another layer has it.
func collides(name string, err error) error {
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR) {
		return fmt.Errorf("tar: %q appears twice, or as file and directory: %w", name, bundle.ErrInvalid)
	}
	return &writeError{err}
}
