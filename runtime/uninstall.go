// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Uninstall removes all versions of an environment, and what installs of it that
// did not end have left.
// Errors: [bundle.ErrNotFound] when it is not installed, [bundle.ErrInvalid]
// when its directory holds something that metalrun did not install, [ErrInUse],
// ctx's cause.
func (h *Home) Uninstall(ctx context.Context, name string, events bundle.EventFunc) (err error) {
	if err := bundle.CheckName(name); err != nil {
		return err
	}
	unfinished, err := h.Unfinished()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(h.EnvironmentDir(name)); errors.Is(err, fs.ErrNotExist) && !slices.Contains(unfinished, name) {
		return fmt.Errorf("environment %s: %w", name, bundle.ErrNotFound)
	}
	unlock, err := h.lock(ctx, events)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := errors.Join(h.sweepEnvironment(name), h.checkOurs(name)); err != nil {
		return err
	}
	letIn, err := h.alone(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, letIn()) }()
	return h.remove(name, events)
}

// remove is Uninstall under the locks. Each step comes after all of the one
// before: the pointer goes first, because an environment that is half removed
// is not active.
func (h *Home) remove(name string, events bundle.EventFunc) error {
	dir := h.EnvironmentDir(name)
	pointer := filepath.Join(dir, filepath.FromSlash(pointerPath))
	steps := []func() error{
		func() error { return removeFile(pointer) },
		func() error { return h.forget(name) },
		func() error { return os.RemoveAll(filepath.Join(dir, versionsDir)) },
		func() error { return removeFile(filepath.Join(dir, dockerVersionFile)) },
		func() error { return h.clearStaging(events, name, "") },
		func() error { return removeEmpty(filepath.Dir(pointer)) },
		func() error { return removeEmpty(dir) },
		func() error { return h.tellLeft(dir, events) },
		func() error { return fsatomic.SyncDir(h.Dir) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// removeEmpty removes a directory, unless there is something in it, which is
// not ours.
func removeEmpty(dir string) error {
	if left, err := os.ReadDir(dir); err == nil && len(left) > 0 {
		return nil
	}
	return removeFile(dir)
}

// tellLeft says that a directory could not go.
func (h *Home) tellLeft(dir string, events bundle.EventFunc) error {
	if exists(dir) {
		events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: dir + " stays: it holds something that metalrun did not install"})
	}
	return nil
}

// forget drops an environment from the state.
func (h *Home) forget(name string) error {
	s, err := h.readState()
	if err != nil {
		return err
	}
	delete(s.Environments, name)
	return h.writeState(s)
}

// removeFile removes a file or an empty directory that may be gone.
func removeFile(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
