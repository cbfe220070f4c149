// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package filelock_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/metalpack/metalpack/internal/filelock"
)

// Who waits is told who has the lock, and gets it afterwards.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	free, err := filelock.Announced(t.Context(), path, func(string) { t.Error("told to wait for nobody") })
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 1)
	go func() {
		told <- <-told
		if err := free(); err != nil {
			t.Error(err)
		}
	}()
	second, err := filelock.Announced(t.Context(), path, func(holder string) { told <- holder })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := <-told, fmt.Sprintf("pid %d", os.Getpid()); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	if _, err := filelock.Announced(ctx, path, func(string) { cancel(why) }); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if err := second(); err != nil {
		t.Error(err)
	}
}
