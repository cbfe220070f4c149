// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package diskspace_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/metalpack/metalpack/internal/diskspace"
)

// TestCheck: what does not fit is refused, also where its directory is still to
// be made; a disk that counts nothing, as /proc does, refuses nothing.
func TestCheck(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "to", "come")
	if err := diskspace.Check(dir, 1); err != nil {
		t.Error(err)
	}
	err := diskspace.Check(dir, math.MaxInt64)
	if full, ok := errors.AsType[*diskspace.Error](err); !ok || full.Dir != dir || full.Free <= 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("no /proc")
	}
	if err := diskspace.Check("/proc", 1); err != nil {
		t.Error(err)
	}
}
