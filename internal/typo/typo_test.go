// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package typo_test

import (
	"testing"

	"github.com/metalpack/metalpack/internal/typo"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"run", "pull", "list", "rm", "df", "install", "uninstall", "verify", "dry-run"}
	for word, want := range map[string]string{
		"lst": "list", "pul": "pull", "rmm": "rm", "instal": "install", "unistal": "uninstall", "verfy": "verify", "dryrun": "dry-run", "inst": "install", "lits": "list", "rnu": "run",
		"": "", "x": "", "ls": "", "images": "", "nonsense": "", "verify": "verify",
	} {
		if got := typo.Nearest(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"smollm", "smolm", 1}, {"ab", "ba", 1}, {"abcd", "badc", 2}} {
		if got := typo.Distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q, %q: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
