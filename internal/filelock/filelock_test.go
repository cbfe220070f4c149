// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package filelock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/metalpack/metalpack/internal/filelock"
)

func TestShared(t *testing.T) {
	t.Parallel()
	for name, flag := range map[string]int{"file": filelock.Create, "directory": os.O_RDONLY} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			if name == "file" {
				path = filepath.Join(path, "lock")
			}
			sweeps := 0
			sweep := func() error { sweeps++; return nil }
			var unlocks []func() error
			for range 2 {
				unlock, err := filelock.Shared(t.Context(), path, flag, sweep)
				if err != nil {
					t.Fatal(err)
				}
				unlocks = append(unlocks, unlock)
			}
			if sweeps != 1 {
				t.Errorf("%d sweeps, want only that of the first", sweeps)
			}
			if unlock, err := filelock.Try(path, flag); err != nil || unlock != nil {
				t.Errorf("a shared lock can be taken exclusively: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := filelock.Exclusive(ctx, path, flag); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
			for _, unlock := range unlocks {
				if err := unlock(); err != nil {
					t.Error(err)
				}
			}
			unlock, err := filelock.Exclusive(t.Context(), path, flag)
			if err != nil {
				t.Fatal(err)
			}
			if err := unlock(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSweepFails leaves nothing locked.
func TestSweepFails(t *testing.T) {
	t.Parallel()
	dir, broken := t.TempDir(), errors.New("broken")
	if _, err := filelock.Shared(t.Context(), dir, os.O_RDONLY, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	unlock, err := filelock.Try(dir, os.O_RDONLY)
	if err != nil || unlock == nil {
		t.Fatalf("still locked: %v", err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}
