// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/diskspace"
)

// Report is what [Store.Check] found.
type Report struct {
	Files   int   // distinct blobs that were looked at
	Bytes   int64 // of them, as the manifest says
	Damaged []*DamagedError
}

// Check verifies every file of a model, manifest and config having been
// verified when m was read. A blob that was hashed before and has not changed
// since is hashed again when deep. Damage is in the report; the error is
// m.Problem, or that of the disk or of ctx.
func (s *Store) Check(ctx context.Context, m Model, deep bool, events bundle.EventFunc) (Report, error) {
	var r Report
	if m.Problem != nil {
		return r, m.Problem
	}
	seen := map[digest.Digest]bool{}
	look := func(path string, d bundle.Descriptor) error {
		if seen[d.Digest] {
			return nil
		}
		seen[d.Digest] = true
		r.Files, r.Bytes = r.Files+1, r.Bytes+d.Size
		if deep {
			if err := removeIfThere(s.memoPath(d.Digest)); err != nil {
				return err
			}
		}
		damage, err := s.inspect(ctx, m, path, d, events)
		if damage != nil {
			r.Damaged = append(r.Damaged, damage)
			return nil
		}
		return err
	}
	var err error
	for _, f := range m.Info.Files {
		err = errors.Join(err, look(f.Path, f.Descriptor))
	}
	for _, a := range m.Info.Archives {
		err = errors.Join(err, look(label(a.Descriptor), a.Descriptor))
	}
	return r, err
}

// Repair fetches again from src what Check found damaged: it need hold no more
// than those blobs. What somebody put in the place of a blob, such as a
// symlink, stays. Errors: those of src; [bundle.ErrMismatch] if src has other
// bytes; [bundle.ErrInvalid] for what stays.
func (s *Store) Repair(ctx context.Context, src Opener, damaged []*DamagedError, events bundle.EventFunc) (err error) {
	unlock, err := s.begun(ctx, events)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	for _, d := range damaged {
		if err := s.fetch(ctx, src, d.desc, events); err != nil {
			return diskspace.Explain(err, s.dir, s.lacks([]bundle.Descriptor{d.desc}))
		}
	}
	return nil
}
