// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Caps on paths inside an environment or a model, in bytes and components.
const (
	MaxPath      = 1024
	MaxComponent = 255
	MaxDepth     = 64
)

// CheckPath reports why p cannot be the path of a file in an artifact. Valid
// are relative, slash-separated, clean paths of valid UTF-8 that mean the same
// file on every system: no "..", no control character, backslash or colon, no
// component that ends with a dot or blank or is a Windows device name. The
// error wraps [ErrInvalid].
func CheckPath(p string) error {
	if isPlainPath(p) {
		return nil
	}
	bad := func(why string) error {
		if len(p) > 80 {
			p = p[:80] + "…"
		}
		return fmt.Errorf("path %q: %s: %w", p, why, ErrInvalid)
	}
	switch {
	case p == "" || p == ".":
		return bad("empty")
	case len(p) > MaxPath:
		return bad(fmt.Sprintf("longer than %d bytes", MaxPath))
	case !utf8.ValidString(p):
		return bad("not UTF-8")
	case strings.HasPrefix(p, "/"):
		return bad("absolute")
	case strings.ContainsAny(p, `\:`):
		return bad("contains a backslash or colon")
	case strings.ContainsFunc(p, unicode.IsControl):
		return bad("contains a control character")
	case path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../"):
		return bad("not a clean path inside the artifact")
	case strings.Count(p, "/") >= MaxDepth:
		return bad(fmt.Sprintf("deeper than %d components", MaxDepth))
	}
	for c := range strings.SplitSeq(p, "/") {
		switch {
		case len(c) > MaxComponent:
			return bad(fmt.Sprintf("a component is longer than %d bytes", MaxComponent))
		case strings.HasSuffix(c, ".") || strings.HasSuffix(c, " "):
			return bad("a component ends with a dot or a blank")
		case isDeviceName(c):
			return bad("a component is a device name")
		case strings.HasPrefix(c, ".wh."):
			return bad("whiteouts are not part of the format")
		}
	}
	return nil
}

// isPlainPath reports whether p is valid and ASCII. Nearly all paths are, and
// one look at each byte tells; what is not has its reason looked for at leisure.
func isPlainPath(p string) bool {
	depth, start := 0, 0
	for i := range len(p) + 1 {
		if i < len(p) && p[i] != '/' {
			if c := p[i]; c < ' ' || c > '~' || c == '\\' || c == ':' {
				return false
			}
			continue
		}
		c := p[start:i]
		if c == "" || len(c) > MaxComponent || c[len(c)-1] == '.' || c[len(c)-1] == ' ' || isDeviceName(c) || strings.HasPrefix(c, ".wh.") {
			return false
		}
		depth, start = depth+1, i+1
	}
	return depth <= MaxDepth && len(p) <= MaxPath
}

// isDeviceName reports whether Windows would open a device under this name.
func isDeviceName(c string) bool {
	if len(c) < 3 || !strings.ContainsRune("CPANLcpanl", rune(c[0])) {
		return false
	}
	base, _, _ := strings.Cut(c, ".")
	if len(base) != 3 && len(base) != 4 {
		return false
	}
	base = strings.ToUpper(base)
	switch base {
	case "CON", "PRN", "AUX", "NUL":
		return true
	}
	return len(base) == 4 && (strings.HasPrefix(base, "COM") || strings.HasPrefix(base, "LPT")) &&
		base[3] >= '1' && base[3] <= '9'
}

func isPlainASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// CheckLink reports why a symlink at p must not point to target. Valid are
// relative targets that stay inside the artifact. The error wraps
// [ErrInvalid].
func CheckLink(p, target string) error {
	if target == "" || strings.HasPrefix(target, "/") || strings.ContainsAny(target, `\:`) ||
		strings.ContainsFunc(target, unicode.IsControl) || len(target) > MaxPath || !utf8.ValidString(target) {
		return fmt.Errorf("symlink %q -> %q: target is not a relative path: %w", p, target, ErrInvalid)
	}
	to := path.Join(path.Dir(p), target)
	if to == ".." || strings.HasPrefix(to, "../") || to == "." {
		return fmt.Errorf("symlink %q -> %q: target leaves the artifact: %w", p, target, ErrInvalid)
	}
	return nil
}
