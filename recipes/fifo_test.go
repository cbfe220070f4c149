// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package recipes_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/recipes"
)

// TestFIFO: a recipe that nobody writes is refused. To open it would hang, and no
// Ctrl-C ends that.
func TestFIFO(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, recipes.FileName), 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := recipes.Load(dir); !errors.Is(err, bundle.ErrInvalid) {
		t.Error(err)
	}
}
