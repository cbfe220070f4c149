// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/filelock"
)

// ErrInUse says that a running program serves from an environment.
var ErrInUse = errors.New("in use")

// Use marks an environment as used until release is called or this process
// ends, however it ends: [Home.Uninstall] refuses to take it away meanwhile.
// Installing, which leaves the version in use alone, goes on. Errors:
// [bundle.ErrNotFound] when it is not installed, ctx's cause.
func (h *Home) Use(ctx context.Context, name string) (release func() error, err error) {
	if err := bundle.CheckName(name); err != nil {
		return nil, err
	}
	// The lock is on the directory that no install ever replaces.
	release, err = filelock.Shared(ctx, h.EnvironmentDir(name), os.O_RDONLY, func() error { return nil })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("environment %s: %w", name, bundle.ErrNotFound)
	}
	return release, err
}

// alone makes sure that nobody uses an environment until letIn is called. Where
// the file system cannot lock it cannot know, and does not ask.
func (h *Home) alone(name string) (letIn func() error, err error) {
	letIn, err = filelock.Try(h.EnvironmentDir(name), os.O_RDONLY)
	switch {
	case err != nil:
		return func() error { return nil }, nil //nolint:nilerr // see the comment
	case letIn == nil:
		return nil, fmt.Errorf("environment %s: a running program serves from it: %w", name, ErrInUse)
	}
	return letIn, nil
}
