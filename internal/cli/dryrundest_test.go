// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/metalpack/metalpack/bundle"
)

// TestAnswered: a dry run does not wait for ever for who takes the call and says
// nothing; an interrupt stays one.
func TestAnswered(t *testing.T) {
	t.Parallel()
	silent := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	err := answered(t.Context(), time.Millisecond, "registry.test/a:1", silent)
	if !errors.Is(err, bundle.ErrUnreachable) || err.Error() != "registry.test/a:1: no answer within 1ms: unreachable" {
		t.Errorf("silent: %v", err)
	}
	if err := answered(t.Context(), time.Hour, "x", func(context.Context) error { return bundle.ErrNotFound }); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("an answer: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := answered(ended, time.Hour, "x", silent); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
