// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// maxCopy is the size up to which a file that is no weight is copied.
const maxCopy = 128 << 20

// stagePrefix begins the name of a tree that is being built.
const stagePrefix = ".stage-"

// DamagedError says that a blob of the store is not what the manifest names.
// It wraps [bundle.ErrMismatch], also for a blob that is gone, and the cause.
type DamagedError struct {
	Model string
	Path  string // in the model
	Blob  string // file in the store; "" if Err names it
	Err   error

	desc bundle.Descriptor
}

// Error names the model, the file and the blob.
func (e *DamagedError) Error() string {
	cause := e.Err.Error()
	if !strings.Contains(cause, e.Blob) {
		cause = e.Blob + ": " + cause
	}
	if e.Blob != "" {
		cause = "blob " + cause
	}
	return fmt.Sprintf("model %s: %s is damaged in the store: %s", e.Model, e.Path, strings.TrimSuffix(cause, ": "+bundle.ErrMismatch.Error()))
}

// Hint is how to mend it.
func (e *DamagedError) Hint() string {
	if errors.Is(e.Err, bundle.ErrInvalid) { // no file: somebody put it there, so it is not replaced
		return fmt.Sprintf("move %s away, then 'metalrun verify --repair %s'", e.Blob, e.Model)
	}
	return fmt.Sprintf("'metalrun verify --repair %s' mends it: only what is damaged is fetched", e.Model)
}

// Unwrap returns the cause.
func (e *DamagedError) Unwrap() []error { return []error{e.Err, bundle.ErrMismatch} }

// Materialize verifies every file of a model and returns a directory that an
// engine can load: our own, with symlinks to the blobs of weights and
// read-only copies of the rest. A directory that is right is kept, so that a
// running engine does not lose it. Errors: [*DamagedError];
// [bundle.ErrInvalid] for a model that no engine may be started on, such as
// one with code.
func (s *Store) Materialize(ctx context.Context, m Model) (dir string, err error) {
	if m.Problem != nil {
		return "", m.Problem
	}
	if m.Info == nil {
		return "", fmt.Errorf("model %s: nothing known about it: %w", m.label(), bundle.ErrInvalid)
	}
	if err := m.Info.CheckServable(); err != nil {
		return "", fmt.Errorf("model %s: %w", m.label(), err)
	}
	if err := s.check(); err != nil {
		return "", err
	}
	if err := s.verifyAll(ctx, m); err != nil {
		return "", err
	}
	unlock, err := s.lockTree(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	dir = filepath.Join(s.state, treesDir, m.ID.Encoded())
	if s.isRight(ctx, m.Info, dir) {
		return dir, nil
	}
	if err := s.clearStages(); err != nil {
		return "", err
	}
	stage := filepath.Join(s.state, treesDir, stagePrefix+rand.Text()[:8])
	if err := s.build(ctx, m, stage); err != nil {
		return "", errors.Join(err, os.RemoveAll(stage))
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, fsatomic.Rename(stage, dir)
}

// clearStages removes what killed processes left. The caller holds the lock of
// the trees, so nobody is at work there.
func (s *Store) clearStages() error {
	entries, err := os.ReadDir(filepath.Join(s.state, treesDir))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stagePrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.state, treesDir, e.Name())))
		}
	}
	return err
}

// verifyAll hashes the blobs that have not been hashed, and reads the headers
// of weights.
func (s *Store) verifyAll(ctx context.Context, m Model) error {
	seen := map[digest.Digest]bool{}
	for _, f := range m.Info.Files {
		if f.Hidden() || seen[f.Descriptor.Digest] {
			continue
		}
		seen[f.Descriptor.Digest] = true
		damage, err := s.inspect(ctx, m, f.Path, f.Descriptor, nil)
		if damage != nil {
			return damage
		}
		if err != nil {
			return err
		}
		if f.Kind != model.KindWeight {
			continue
		}
		if err := s.checkHeader(f.Descriptor); err != nil {
			return fmt.Errorf("model %s: %s: %w", m.label(), f.Path, err)
		}
	}
	return nil
}

// inspect verifies one file of a model; damage is what is wrong with the blob,
// err why that cannot be said.
func (s *Store) inspect(ctx context.Context, m Model, path string, d bundle.Descriptor, events bundle.EventFunc) (damage *DamagedError, err error) {
	err = s.verify(ctx, d, "hash "+path, events)
	if errors.Is(err, bundle.ErrMismatch) || errors.Is(err, bundle.ErrNotFound) || errors.Is(err, bundle.ErrInvalid) {
		return &DamagedError{Model: m.label(), Path: path, Blob: s.blobPath(d.Digest), Err: err, desc: d}, nil
	}
	return nil, err
}

// linked reports whether a file is a symlink in the tree.
func linked(f model.File) bool {
	return f.Kind == model.KindWeight || f.Descriptor.Size > maxCopy
}

// isRight reports whether a tree is what build would make. Copies are hashed;
// they are small.
func (s *Store) isRight(ctx context.Context, info *model.Model, dir string) bool {
	want := 0
	for _, f := range info.Files {
		if f.Hidden() {
			continue
		}
		want++
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if linked(f) {
			if to, err := os.Readlink(path); err != nil || to != s.blobPath(f.Descriptor.Digest) {
				return false
			}
			continue
		}
		if !matches(ctx, path, f.Descriptor) {
			return false
		}
	}
	have := 0
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			have++
		}
		return err
	})
	return err == nil && have == want // nothing was put beside them
}

func matches(ctx context.Context, path string, d bundle.Descriptor) bool {
	f, err := openRegular(path)
	if err != nil {
		return false
	}
	err = bundle.NewVerifier(ctxio.Reader(ctx, f), d).Finish()
	return f.Close() == nil && err == nil
}

func (s *Store) build(ctx context.Context, m Model, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, f := range m.Info.Files {
		if f.Hidden() {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if linked(f) {
			if err := os.Symlink(s.blobPath(f.Descriptor.Digest), path); err != nil {
				return err
			}
			continue
		}
		if err := s.copyBlob(ctx, f.Descriptor, path); err != nil {
			if ctx.Err() != nil {
				return err
			}
			return &DamagedError{Model: m.label(), Path: f.Path, Blob: s.blobPath(f.Descriptor.Digest), Err: err}
		}
	}
	return checkConfig(m, dir)
}

func (s *Store) copyBlob(ctx context.Context, d bundle.Descriptor, path string) (err error) {
	in, err := openRegular(s.blobPath(d.Digest))
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, in)
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, out)
	_, err = io.Copy(out, bundle.NewVerifier(ctxio.Reader(ctx, in), d))
	return err
}

// checkConfig refuses a config.json that has an engine load code.
func checkConfig(m Model, dir string) error {
	path := filepath.Join(dir, "config.json")
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > model.MaxConfigFile {
		return fmt.Errorf("model %s: config.json: %d bytes: %w", m.label(), info.Size(), bundle.ErrInvalid)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	c, err := model.ParseConfig(data)
	if err != nil {
		return fmt.Errorf("model %s: %w", m.label(), err)
	}
	if c.ModelFile != "" {
		return fmt.Errorf("model %s: config.json: model_file %q: a model that needs its own code does not run here: %w", m.label(), c.ModelFile, bundle.ErrInvalid)
	}
	return nil
}
