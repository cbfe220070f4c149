// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle_test

import (
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/metalpack/metalpack/bundle"
)

// Two characters have one key exactly when x/text folds them to one: each gives
// the same for what the other makes of a character. That holds beside an accent
// too, which the normal form puts in order. Cherokee is left out, whose cases
// x/text exchanges, and the large scripts that have none.
func TestCollisionKeyOfAllRunes(t *testing.T) {
	t.Parallel()
	fold := cases.Fold()
	theirs := func(s string) string { return norm.NFC.String(fold.String(norm.NFD.String(s))) }
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		if !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.S) || unicode.In(r, unicode.Han, unicode.Hangul, unicode.Cherokee) {
			continue
		}
		for _, text := range []string{string(r), string(r) + "\u0345\u0323"} {
			key, want := bundle.CollisionKey(text), theirs(text)
			if bundle.CollisionKey(want) != key || theirs(key) != want {
				t.Fatalf("%q: key %q, x/text folds it to %q", text, key, want)
			}
		}
	}
	for _, text := range []string{"STRASSE/ß", "K", "ſ", "Ꭰ", "ꭰ", "ᏸ", "ﬃ"} {
		if k := bundle.CollisionKey(text); k != bundle.CollisionKey(strings.ToUpper(text)) || k != bundle.CollisionKey(k) {
			t.Errorf("%q: key %q", text, k)
		}
	}
}
