// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"testing"
	"time"
)

// TestPatience: a registry that hashes 100 GB, or moves them to where it keeps
// them, before it answers the last PUT is not given up; one that takes no bytes is.
func TestPatience(t *testing.T) {
	t.Parallel()
	s := &sending{r: &Repository{opts: withDefaults(Options{})}, size: 100e9}
	if d := s.wait(0); d < 30*time.Minute || d > time.Hour {
		t.Errorf("it may hash for %s", d)
	}
	if d := s.wait(1); d > time.Minute {
		t.Errorf("it may take nothing for %s", d)
	}
}
