// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/internal/ui"
)

func TestColumns(t *testing.T) {
	t.Parallel()
	got := ui.Columns("lrl", [][]string{{"NAME", "SIZE", "WHAT"}, {"模型", "1.2 GB", ""}, {"a\nb\x1b[2J", "7 B", "x"}, {"short"}})
	want := "  NAME       SIZE  WHAT\n" +
		"  模型     1.2 GB\n" +
		"  a\uFFFDb\uFFFD[2J     7 B  x\n" +
		"  short\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
