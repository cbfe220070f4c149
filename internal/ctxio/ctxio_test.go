// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ctxio_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/metalpack/metalpack/internal/ctxio"
)

func TestWait(t *testing.T) {
	t.Parallel()
	if got, err := ctxio.Wait(t.Context(), func() (int, error) { return 7, io.EOF }); got != 7 || !errors.Is(err, io.EOF) {
		t.Errorf("got %d, %v", got, err)
	}
	// A read that nobody answers.
	r, w := io.Pipe()
	defer w.Close()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	got, err := ctxio.Wait(ctx, func() ([]byte, error) { return io.ReadAll(r) })
	if got != nil || !errors.Is(err, why) {
		t.Errorf("got %q, %v", got, err)
	}
}
