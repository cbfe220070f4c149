// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"regexp"
	"strings"

	version "github.com/aquasecurity/go-pep440-version"
)

var (
	nameRuns   = regexp.MustCompile(`[-_.]+`)
	nameShape  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	buildShape = regexp.MustCompile(`^[0-9][A-Za-z0-9_.]*$`)

	wheelFormat = regexp.MustCompile(`^([0-9]+)(\.[0-9]+)?$`)
	metadata    = regexp.MustCompile(`(?i)\.(dist|egg)-info$`) // what importlib.metadata reads
)

// Normalize returns the normal form of a project name: lower case, one dash for
// each run of dashes, underscores and dots.
func Normalize(name string) string {
	return strings.ToLower(nameRuns.ReplaceAllString(name, "-"))
}

// splitFileName returns the project and version of
// NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl. The error wraps ErrInvalid.
func splitFileName(file string) (name, ver string, err error) {
	stem, ok := strings.CutSuffix(file, ".whl")
	parts := strings.Split(stem, "-")
	if !ok || len(parts) != 5 && len(parts) != 6 || len(parts) == 6 && !buildShape.MatchString(parts[2]) ||
		!nameShape.MatchString(parts[0]) || strings.ContainsAny(file, "/\\ ") {
		return "", "", invalid("file name is not that of a wheel")
	}
	if _, err := version.Parse(parts[1]); err != nil {
		return "", "", invalid("file name: version %q", parts[1])
	}
	return parts[0], parts[1], nil
}

// sameVersion reports whether two spellings are one version. A file name's
// local part may be missing in the other.
func sameVersion(file, other string) bool {
	if file == other {
		return true
	}
	a, err := version.Parse(file)
	if err != nil {
		return false
	}
	b, err := version.Parse(other)
	if err != nil {
		return false
	}
	return a.Equal(b) || b.Local() == "" && a.Public() == b.Public()
}
