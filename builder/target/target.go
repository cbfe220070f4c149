// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package target owns what a declared target accepts: which wheels, by the
// tags in their file names, and which dependency rows, by their markers.
//
// [New] makes a [Target] from a platform with its floor and a CPython version.
// Nothing is ever asked of the host: a Linux machine picks wheels for macOS.
// [Target.Best] chooses among file names as pip does, so ABI closeness beats
// platform newness; [Target.Eval] evaluates PEP 508 markers.
//
// It promises that a marker which needs a variable that no declaration can
// know (platform_release, platform_version) is an error and never a guess.
package target

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// ErrNoWheel says that none of the files fits the target.
var ErrNoWheel = errors.New("no wheel for this target")

// Target is a platform and a CPython version for which wheels and markers are
// chosen. It does not change after [New].
type Target struct {
	platform bundle.Platform
	python   string // 3.12.16
	minor    string // 3.12
	tags     []string
	rank     map[string]int
	env      map[string]string
}

var pythonVersion = regexp.MustCompile(`^3\.(\d{1,2})\.(\d{1,3})$`)

// New returns the target of a platform, floor included, and a full CPython
// version like 3.12.16. Known are darwin/arm64, linux/amd64 and linux/arm64.
// The error wraps [bundle.ErrInvalid].
func New(p bundle.Platform, python string) (*Target, error) {
	m := pythonVersion.FindStringSubmatch(python)
	if m == nil {
		return nil, fmt.Errorf("python %q: want a full version like 3.12.16: %w", python, bundle.ErrInvalid)
	}
	minor, err := strconv.Atoi(m[1])
	if err != nil {
		return nil, fmt.Errorf("python %q: %w: %w", python, err, bundle.ErrInvalid)
	}
	platforms, err := platformTags(p)
	if err != nil {
		return nil, err
	}
	t := &Target{platform: p, python: python, minor: "3." + m[1], tags: interpreterTags(minor, platforms)}
	t.rank = make(map[string]int, len(t.tags))
	for i, tag := range t.tags {
		t.rank[tag] = i
	}
	t.env = environment(p, t.minor, python)
	return t, nil
}

// Platform returns the platform with its floor.
func (t *Target) Platform() bundle.Platform { return t.platform }

// Python returns the full CPython version.
func (t *Target) Python() string { return t.python }

// PythonMinor returns the CPython version without its last part: 3.12.
func (t *Target) PythonMinor() string { return t.minor }

// String names the target: "linux/amd64 (glibc 2.35, CPython 3.12)".
func (t *Target) String() string {
	return fmt.Sprintf("%s (%s, CPython %s)", t.platform, t.platform.Floor(), t.minor)
}

// Tags returns the tags of wheels that run on the target, best first, each as
// python-abi-platform.
func (t *Target) Tags() []string { return slices.Clone(t.tags) }

// Marker returns a PEP 508 marker that is true on the target's platform.
func (t *Target) Marker() string {
	return fmt.Sprintf("sys_platform == '%s' and platform_machine == '%s'", t.env["sys_platform"], t.env["platform_machine"])
}

// Machine returns the machine as Python names it: x86_64, aarch64, arm64.
func (t *Target) Machine() string { return t.env["platform_machine"] }

// interpreterTags orders tags as PEP 425 tools do for CPython 3.minor.
func interpreterTags(minor int, platforms []string) []string {
	cp := fmt.Sprintf("cp3%d", minor)
	var tags []string
	all := func(prefix string) {
		for _, p := range platforms {
			tags = append(tags, prefix+"-"+p)
		}
	}
	all(cp + "-" + cp)
	all(cp + "-abi3")
	all(cp + "-none")
	for m := minor - 1; m >= 2; m-- {
		all(fmt.Sprintf("cp3%d-abi3", m))
	}
	generic := []string{fmt.Sprintf("py3%d", minor), "py3"}
	for m := minor - 1; m >= 0; m-- {
		generic = append(generic, fmt.Sprintf("py3%d", m))
	}
	for _, py := range generic {
		all(py + "-none")
	}
	tags = append(tags, cp+"-none-any")
	for _, py := range generic {
		tags = append(tags, py+"-none-any")
	}
	return tags
}

// platformTags lists the platform tags of p, newest first.
func platformTags(p bundle.Platform) ([]string, error) {
	switch p.String() {
	case "darwin/arm64":
		major, _, err := floor(p.MacOS, "macOS")
		if err != nil {
			return nil, err
		}
		if major < 11 {
			return nil, fmt.Errorf("%s: macOS %s: arm64 begins at 11.0: %w", p, p.MacOS, bundle.ErrInvalid)
		}
		return macTags(major), nil
	case "linux/amd64":
		return linuxTags(p, "x86_64", 5)
	case "linux/arm64":
		return linuxTags(p, "aarch64", 17)
	}
	return nil, fmt.Errorf("platform %q: known are darwin/arm64, linux/amd64, linux/arm64: %w", p, bundle.ErrInvalid)
}

// macTags: from macOS 11 on only minor 0 exists in tags; before it there was
// no arm64, so only universal2 files can fit.
func macTags(major int) []string {
	var tags []string
	for m := major; m >= 11; m-- {
		tags = append(tags, fmt.Sprintf("macosx_%d_0_arm64", m), fmt.Sprintf("macosx_%d_0_universal2", m))
	}
	for m := 16; m >= 4; m-- {
		tags = append(tags, fmt.Sprintf("macosx_10_%d_universal2", m))
	}
	return tags
}

// linuxTags lists manylinux tags from the floor down to glibc 2.oldest, each
// old name after its new one.
func linuxTags(p bundle.Platform, machine string, oldest int) ([]string, error) {
	major, minor, err := floor(p.Glibc, "glibc")
	if err != nil {
		return nil, err
	}
	if major != 2 || minor < oldest {
		return nil, fmt.Errorf("%s: glibc %s: want 2.%d or newer: %w", p, p.Glibc, oldest, bundle.ErrInvalid)
	}
	legacy := map[int]string{17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
	var tags []string
	for m := minor; m >= oldest; m-- {
		tags = append(tags, fmt.Sprintf("manylinux_2_%d_%s", m, machine))
		if old := legacy[m]; old != "" {
			tags = append(tags, old+"_"+machine)
		}
	}
	return append(tags, "linux_"+machine), nil
}

// maxFloor bounds each part of a floor, so that a recipe cannot ask for
// millions of tags.
const maxFloor = 99

func floor(s, what string) (major, minor int, err error) {
	a, b, ok := strings.Cut(s, ".")
	major, err1 := strconv.Atoi(a)
	minor, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil || major < 0 || minor < 0 || major > maxFloor || minor > maxFloor {
		return 0, 0, fmt.Errorf("%s floor %q: want major.minor: %w", what, s, bundle.ErrInvalid)
	}
	return major, minor, nil
}

// environment holds the marker variables a declaration decides.
func environment(p bundle.Platform, minor, python string) map[string]string {
	env := map[string]string{
		"os_name": "posix", "implementation_name": "cpython", "platform_python_implementation": "CPython",
		"implementation_version": python, "python_full_version": python, "python_version": minor,
	}
	switch p.String() {
	case "darwin/arm64":
		env["sys_platform"], env["platform_system"], env["platform_machine"] = "darwin", "Darwin", "arm64"
	case "linux/amd64":
		env["sys_platform"], env["platform_system"], env["platform_machine"] = "linux", "Linux", "x86_64"
	case "linux/arm64":
		env["sys_platform"], env["platform_system"], env["platform_machine"] = "linux", "Linux", "aarch64"
	}
	return env
}
