// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/filelock"
)

// lock takes the store lock, waiting for another process that has it, and
// returns the function that gives it back. The file stays: a lock on a file
// that somebody deletes is two locks.
func (h *Home) lock(ctx context.Context, events bundle.EventFunc) (unlock func() error, err error) {
	if err := h.prepare(); err != nil {
		return nil, err
	}
	path := h.store(lockFile)
	unlock, err = filelock.Announced(ctx, path, func(holder string) {
		events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: fmt.Sprintf("another install is running (%s); waiting for it", holder)})
	})
	if err != nil {
		return nil, err
	}
	if err := sweep(filepath.Dir(path)); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), unlock())
	}
	return unlock, nil
}
