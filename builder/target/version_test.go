// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"testing"

	"github.com/metalpack/metalpack/builder/target"
)

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"1.9", "1.10", -1},
		{"1.0", "1.0.0", 0},
		{"2.0", "2.0rc1", 1},
		{"0.30.0", "0.30.0+cpu", -1},
		{"1.0.post1", "1.0", 1},
		{"nightly", "1.0", -1},
		{"1.0", "nightly", 1},
		{"a", "b", -1},
	} {
		if got := target.CompareVersions(tt.a, tt.b); got != tt.want {
			t.Errorf("%s, %s: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
