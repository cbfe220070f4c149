// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/builder"
	"github.com/metalpack/metalpack/builder/macho"
	"github.com/metalpack/metalpack/recipes"
)

// Package recipes cannot ask package builder which rules it has.
func TestSchemaKnowsTheRules(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer(" ", "", "\n", "").Replace(string(recipes.Schema()))
	for _, list := range [][]string{builder.Rules(), macho.Rules()} { // of packages, of the interpreter
		rules, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		if want := `"rule":{"description":"Therule.","type":"string","enum":` + string(rules); !strings.Contains(text, want) {
			t.Errorf("schema.json has no %s", want)
		}
	}
}

// The machines on which what was built is tried.
func TestRunner(t *testing.T) {
	t.Parallel()
	own := matrixOptions{runners: map[string]string{"linux/arm64": "ours"}}
	for want, target := range map[string]recipes.Target{
		"macos-15":     {Platform: "darwin/arm64", OS: "12.0"},
		"macos-26":     {Platform: "darwin/arm64", OS: "26.0"},
		"ubuntu-24.04": {Platform: "linux/amd64", Glibc: "2.35"},
		"ours":         {Platform: "linux/arm64", Glibc: "2.35"},
	} {
		if got := own.runner(target); got != want {
			t.Errorf("%s %s: %s, want %s", target.Platform, target.OS, got, want)
		}
	}
}
