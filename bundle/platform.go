// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"fmt"
	"strconv"
	"strings"
)

// Platform is what an environment runs on: operating system, machine and the
// oldest system it accepts.
type Platform struct {
	OS    string `json:"os"`              // GOOS: darwin, linux
	Arch  string `json:"arch"`            // GOARCH: arm64, amd64
	MacOS string `json:"macos,omitempty"` // floor on darwin: "15.0"
	Glibc string `json:"glibc,omitempty"` // floor on linux: "2.35"
}

// ParsePlatform reads "os/arch". The error wraps [ErrInvalid].
func ParsePlatform(s string) (Platform, error) {
	os, arch, ok := strings.Cut(s, "/")
	if !ok || os == "" || arch == "" || strings.Contains(arch, "/") {
		return Platform{}, fmt.Errorf("platform %q: want os/arch, like darwin/arm64: %w", s, ErrInvalid)
	}
	return Platform{OS: os, Arch: arch}, nil
}

// String returns "os/arch".
func (p Platform) String() string { return p.OS + "/" + p.Arch }

// Floor returns the floor for a human and for [AnnotationFloor]: "macos 15.0",
// "glibc 2.35" or "".
func (p Platform) Floor() string {
	switch {
	case p.MacOS != "":
		return "macos " + p.MacOS
	case p.Glibc != "":
		return "glibc " + p.Glibc
	}
	return ""
}

// Runs reports whether something built for p runs on host, whose MacOS or
// Glibc is the version that is there; an unknown host version passes. The
// error wraps [ErrUnsupportedHost] and says what is wanted and what is there.
func (p Platform) Runs(host Platform) error {
	if p.OS != host.OS || p.Arch != host.Arch {
		return fmt.Errorf("built for %s, this is %s: %w", p, host, ErrUnsupportedHost)
	}
	if host.MacOS != "" && compareVersions(host.MacOS, p.MacOS) < 0 {
		return fmt.Errorf("needs macOS %s or newer, this is %s: %w", p.MacOS, host.MacOS, ErrUnsupportedHost)
	}
	if host.Glibc != "" && compareVersions(host.Glibc, p.Glibc) < 0 {
		return fmt.Errorf("needs glibc %s or newer, this is %s: %w", p.Glibc, host.Glibc, ErrUnsupportedHost)
	}
	return nil
}

// compareVersions compares dotted numbers; a missing part counts as 0.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if d := versionPart(as, i) - versionPart(bs, i); d != 0 {
			return d
		}
	}
	return 0
}

func versionPart(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, _ := strconv.Atoi(parts[i]) // not a number counts as 0
	return n
}
