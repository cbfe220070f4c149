// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package standin_test

import (
	"slices"
	"testing"

	"github.com/metalpack/metalpack/internal/standin"
	"github.com/metalpack/metalpack/recipes"
)

// TestRecipeNamesThem: the recipe that builds with the stand-ins names these
// bytes.
func TestRecipeNamesThem(t *testing.T) {
	t.Parallel()
	r, err := recipes.Load("../../recipes/testdata/vllm-metal-standin")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range standin.Wheels() {
		named := slices.ContainsFunc(r.Wheels.Substitute, func(s recipes.Substitute) bool {
			return s.File == w.File && s.SHA256 == w.SHA256()
		})
		if !named {
			t.Errorf("%s sha256:%s is not in the recipe", w.File, w.SHA256())
		}
	}
}
