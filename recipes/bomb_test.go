// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/bombtest"
	"github.com/metalpack/metalpack/recipes"
)

// TestBombs: a recipe that would cost a machine its memory or its day is refused
// at a cap, in a message that one can read.
func TestBombs(t *testing.T) {
	t.Parallel()
	const head = "version: 1\nname: demo\n"
	for name, c := range map[string]struct{ text, want string }{
		"bytes":         {head + strings.Repeat("#", 128<<10), "more than 131072 bytes"},
		"depth":         {head + "strip: " + strings.Repeat("[", 100_000), "exceeded max depth"},
		"keys":          {head + bombtest.Rows(2_000, "x%d: 1\n"), "recipe.yaml:1001:1: more than 1000 keys"},
		"one key":       {head + "launch:\n" + strings.Repeat("  a: {}\n", 3_000), `recipe.yaml:5:3: "a" is already defined at line 4`},
		"long key":      {head + "? " + strings.Repeat("k", 100_000) + "\n: 1\n", "unknown field"},
		"errors":        {head + "targets:\n" + strings.Repeat("- {}\n", 1_000), "more errors: invalid"},
		"braces":        {head + "strip: [\"" + strings.Repeat("{a,b}", 60) + "\"]\n", "more than 8 braces or double stars"},
		"stars":         {head + "strip: [\"" + strings.Repeat("**/a/", 60) + "b\"]\n", "more than 8 braces or double stars"},
		"waived braces": {head + "wheels: {waive: [{package: a, rule: pth, reason: x, path: \"" + strings.Repeat("{a,b}", 60) + "\"}]}\n", "wheels.waive[0].path: "},
		"won braces":    {head + "wheels: {winner: [{package: a, reason: x, path: \"" + strings.Repeat("{a,b}", 60) + "\"}]}\n", "wheels.winner[0].path: "},
		"patterns":      {head + "strip: [" + strings.Repeat("a,", 2000) + "]\n", "strip: 2000 patterns, more than 1000"},
	} {
		_, err := recipes.Load(write(t, map[string]string{"recipe.yaml": c.text}))
		if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got\n%.500v\nwant\n%s", name, err, c.want)
		} else if len(err.Error()) > 100_000 {
			t.Errorf("%s: a message of %d bytes", name, len(err.Error()))
		}
	}
}
