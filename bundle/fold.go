// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// CollisionKey maps a path to a key that is equal for all paths which a case-
// or normalisation-insensitive file system (APFS) takes for one file:
// NFC(Fold(NFD(p))), with the full case folding of Unicode.
func CollisionKey(p string) string {
	if isPlainASCII(p) {
		return strings.ToLower(p)
	}
	var folded strings.Builder
	for _, r := range norm.NFD.String(p) {
		if long, ok := foldLong(r); ok {
			folded.WriteString(long)
		} else {
			folded.WriteRune(foldRune(r))
		}
	}
	return norm.NFC.String(folded.String())
}

// foldRune returns the same letter for all letters that differ in case alone.
// The cases package of x/text gives the same and is a fiftieth of metalrun.
func foldRune(r rune) rune {
	if unicode.SimpleFold(r) == r { // such as the Turkish ı, which has an upper case
		return r
	}
	return unicode.ToLower(unicode.ToUpper(r))
}

// foldLong is the folding of the letters that fold to several, as far as there
// are any in decomposed text (status F of CaseFolding.txt).
func foldLong(r rune) (string, bool) {
	switch r {
	case 'ß', 'ẞ':
		return "ss", true
	case 'ŉ':
		return "ʼn", true
	case 'ẚ':
		return "aʾ", true
	case 'և':
		return "եւ", true
	case 'ﬀ':
		return "ff", true
	case 'ﬁ':
		return "fi", true
	case 'ﬂ':
		return "fl", true
	case 'ﬃ':
		return "ffi", true
	case 'ﬄ':
		return "ffl", true
	case 'ﬅ', 'ﬆ':
		return "st", true
	case 'ﬓ':
		return "մն", true
	case 'ﬔ':
		return "մե", true
	case 'ﬕ':
		return "մի", true
	case 'ﬖ':
		return "վն", true
	case 'ﬗ':
		return "մխ", true
	}
	return "", false
}
