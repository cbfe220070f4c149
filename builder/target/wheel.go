// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package target

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	pep440 "github.com/aquasecurity/go-pep440-version"

	"github.com/metalpack/metalpack/bundle"
)

// WheelName is a parsed wheel file name.
type WheelName struct {
	Name    string // normalised
	Version string // as written
	Build   string // "" if there is none
	Tags    []string
}

var (
	wheelDist  = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._]*[A-Za-z0-9])?$`)
	wheelBuild = regexp.MustCompile(`^[0-9]+[A-Za-z0-9_.]*$`)
	wheelTag   = regexp.MustCompile(`^[a-z0-9_]+$`)
	separators = regexp.MustCompile(`[-_.]+`)
)

// maxTags bounds the product of the tag sets of one file name.
const maxTags = 1024

// NormalizeName returns a project name in its normal form: lower case, runs of
// "-", "_" and "." as one "-".
func NormalizeName(name string) string {
	return strings.ToLower(separators.ReplaceAllString(name, "-"))
}

// ParseWheelName reads name-version(-build)?-python-abi-platform.whl. The
// error wraps [bundle.ErrInvalid].
func ParseWheelName(file string) (WheelName, error) {
	bad := func(why string) error {
		return fmt.Errorf("wheel file name %q: %s: %w", file, why, bundle.ErrInvalid)
	}
	stem, ok := strings.CutSuffix(file, ".whl")
	if !ok {
		return WheelName{}, bad("does not end with .whl")
	}
	parts := strings.Split(stem, "-")
	var w WheelName
	switch len(parts) {
	case 5:
	case 6:
		if w.Build = parts[2]; !wheelBuild.MatchString(w.Build) {
			return WheelName{}, bad("the build tag does not begin with a digit")
		}
	default:
		return WheelName{}, bad("want name-version-python-abi-platform")
	}
	if !wheelDist.MatchString(parts[0]) || strings.Contains(parts[0], "__") {
		return WheelName{}, bad("the name part is malformed")
	}
	if _, err := pep440.Parse(strings.ReplaceAll(parts[1], "_", "-")); err != nil {
		return WheelName{}, bad("the version part is malformed")
	}
	w.Name, w.Version = NormalizeName(parts[0]), parts[1]
	tail := parts[len(parts)-3:]
	for py := range strings.SplitSeq(strings.ToLower(tail[0]), ".") {
		for abi := range strings.SplitSeq(strings.ToLower(tail[1]), ".") {
			for plat := range strings.SplitSeq(strings.ToLower(tail[2]), ".") {
				if !wheelTag.MatchString(py) || !wheelTag.MatchString(abi) || !wheelTag.MatchString(plat) {
					return WheelName{}, bad("a tag is empty or malformed")
				}
				if w.Tags = append(w.Tags, py+"-"+abi+"-"+plat); len(w.Tags) > maxTags {
					return WheelName{}, bad("too many tags")
				}
			}
		}
	}
	return w, nil
}

// SameVersion reports whether two versions are equal under PEP 440, like 1.0
// and 1.0.0. What does not parse equals only itself.
func SameVersion(a, b string) bool {
	va, err := pep440.Parse(a)
	if err != nil {
		return a == b
	}
	vb, err := pep440.Parse(b)
	return err == nil && va.Equal(vb)
}

// CompareVersions orders versions by PEP 440: negative when a comes before b, 0
// when they are equal. What does not parse comes first, in the order of text.
func CompareVersions(a, b string) int {
	va, errA := pep440.Parse(a)
	vb, errB := pep440.Parse(b)
	switch {
	case errA == nil && errB == nil:
		return va.Compare(vb)
	case errA == nil:
		return 1
	case errB == nil:
		return -1
	}
	return strings.Compare(a, b)
}

// Best returns the index of the wheel in files that fits the target best: the
// best tag, then the highest build tag, then the first. The error wraps
// [ErrNoWheel] and lists the tags there are, or [bundle.ErrInvalid] for a
// malformed name.
func (t *Target) Best(files []string) (int, error) {
	best, bestRank := -1, len(t.tags)
	var bestBuild string
	var seen []string
	for i, file := range files {
		w, err := ParseWheelName(file)
		if err != nil {
			return 0, err
		}
		seen = append(seen, compressedTag(file))
		for _, tag := range w.Tags {
			r, ok := t.rank[tag]
			if !ok || r > bestRank {
				continue
			}
			if r < bestRank || compareBuild(w.Build, bestBuild) > 0 {
				best, bestRank, bestBuild = i, r, w.Build
			}
		}
	}
	if best < 0 {
		return 0, fmt.Errorf("%s: there are wheels for %s: %w", t, list(seen), ErrNoWheel)
	}
	return best, nil
}

// Accepts reports whether the wheel fits the target at all. The error wraps
// [bundle.ErrInvalid] or [ErrNoWheel].
func (t *Target) Accepts(file string) error {
	_, err := t.Best([]string{file})
	return err
}

// compressedTag is the tag part of a wheel's file name, sets as written.
func compressedTag(file string) string {
	parts := strings.Split(strings.TrimSuffix(file, ".whl"), "-")
	return strings.Join(parts[len(parts)-3:], "-")
}

// maxListed bounds how many names an error message lists.
const maxListed = 12

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	if extra := len(names) - maxListed; extra > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), extra)
	}
	return strings.Join(names, ", ")
}

// compareBuild orders build tags: none first, then by number, then by the
// text after it.
func compareBuild(a, b string) int {
	if a == "" || b == "" {
		return len(a) - len(b)
	}
	an, as := splitBuild(a)
	bn, bs := splitBuild(b)
	if an != bn {
		if an < bn {
			return -1
		}
		return 1
	}
	return strings.Compare(as, bs)
}

func splitBuild(s string) (uint64, string) {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, _ := strconv.ParseUint(s[:end], 10, 64) // out of range counts as the largest
	return n, s[end:]
}
