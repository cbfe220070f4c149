// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/bundle"
)

func TestCheckPath(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 255)
	for _, p := range []string{"a", "a/b", ".hidden", "..a", "a b", "caf\u00e9", "com0", "console", long, strings.Repeat("a/", 63) + "a"} {
		if err := bundle.CheckPath(p); err != nil {
			t.Errorf("%.40q refused: %v", p, err)
		}
	}
	for _, p := range []string{
		"", ".", "..", "/", "/etc/x", "//x", `C:\x`, `\x`, `a\b`, "a:b", "a/../../x", "../x", "./a", "a//b", "a/", "a/.", "a/..",
		"a\x00b", "a\nb", "a\x1bb", "a\tb", "a\u0085b", "a\xff", "a.", "a /b", "CON", "con.txt", "x/LPT1", "com9.log", ".wh.x", "a/.wh..wh..opq",
		long + "a", strings.Repeat("a/", 64) + "a", strings.Repeat("abcdefg/", 128) + "a",
	} {
		if err := bundle.CheckPath(p); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%.40q: got %v", p, err)
		}
	}
}

func TestCheckLink(t *testing.T) {
	t.Parallel()
	for _, l := range [][2]string{{"a", "b"}, {"a/b", "../c"}, {"a/b/c", "../../d"}, {"a", "b/../c"}} {
		if err := bundle.CheckLink(l[0], l[1]); err != nil {
			t.Error(err)
		}
	}
	for _, l := range [][2]string{
		{"a", ""},
		{"a", "/b"},
		{"a", "../b"},
		{"a/b", "../../c"},
		{"a", "."},
		{"a", ".."},
		{"a", `b\c`},
		{"a", "b\x00"},
		{"a", "c:d"},
		{"a", "b\xff"},
		{"a", strings.Repeat("b/", 600)},
	} {
		if err := bundle.CheckLink(l[0], l[1]); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%q -> %.40q: got %v", l[0], l[1], err)
		}
	}
}

func TestCollisionKey(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{
		{"Foo", "fOO"}, {"caf\u00e9", "cafe\u0301"}, {"stra\u00dfe", "STRASSE"}, {"\ufb01", "fi"}, {"\u212a", "k"}, {"\u03a3", "\u03c2"},
	} {
		if bundle.CollisionKey(pair[0]) != bundle.CollisionKey(pair[1]) {
			t.Errorf("%q and %q have different keys", pair[0], pair[1])
		}
	}
	if bundle.CollisionKey("a") == bundle.CollisionKey("\u00e4") {
		t.Error("a and \u00e4 have one key")
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, p := range []string{"a/b", "../a", "a\\b", "CON.txt", "caf\u00e9"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if bundle.CheckPath(p) == nil && (strings.HasPrefix(p, "/") || strings.Contains("/"+p+"/", "/../")) {
			t.Errorf("accepted %q", p)
		}
	})
}
