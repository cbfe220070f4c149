// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package target

import (
	"fmt"
	"slices"
	"strings"

	pep440 "github.com/aquasecurity/go-pep440-version"

	"github.com/metalpack/metalpack/bundle"
)

// Sets are the values of the set markers of PEP 751.
type Sets struct {
	Extras           []string
	DependencyGroups []string
}

// Eval evaluates a PEP 508 marker for the target; an empty marker is true. An
// operand that needs an unset variable makes the result an error unless the
// other operands decide. Errors wrap [bundle.ErrInvalid].
func (t *Target) Eval(marker string, sets Sets) (bool, error) {
	if strings.TrimSpace(marker) == "" {
		return true, nil
	}
	node, err := parseMarker(marker)
	if err != nil {
		return false, fmt.Errorf("marker %q: %w: %w", marker, err, bundle.ErrInvalid)
	}
	ok, err := node.eval(t, sets)
	if err != nil {
		return false, fmt.Errorf("marker %q: %w: %w", marker, err, bundle.ErrInvalid)
	}
	return ok, nil
}

// AdmitsPython reports whether a Requires-Python specifier admits the target's
// CPython; an empty one does. The error wraps [bundle.ErrInvalid].
func (t *Target) AdmitsPython(specifier string) (bool, error) {
	if strings.TrimSpace(specifier) == "" {
		return true, nil
	}
	ok, err := satisfies(t.python, specifier)
	if err != nil {
		return false, fmt.Errorf("requires-python %q: %w: %w", specifier, err, bundle.ErrInvalid)
	}
	return ok, nil
}

func satisfies(version, specifier string) (bool, error) {
	v, err := pep440.Parse(version)
	if err != nil {
		return false, err
	}
	s, err := pep440.NewSpecifiers(specifier, pep440.WithPreRelease(true))
	if err != nil {
		return false, err
	}
	return s.Check(v), nil
}

// A node of a marker: a comparison, or operands joined by and, or.
type node struct {
	join        string // "and", "or", or "" for a comparison
	args        []node
	left, right operand
	op          string
}

type operand struct {
	value    string
	variable bool
}

func (n node) eval(t *Target, sets Sets) (bool, error) {
	if n.join == "" {
		return n.compare(t, sets)
	}
	decides := n.join == "or" // the value of one operand that settles the whole
	var first error
	for _, arg := range n.args {
		ok, err := arg.eval(t, sets)
		if err == nil && ok == decides {
			return decides, nil
		}
		if first == nil {
			first = err
		}
	}
	return !decides, first
}

func (n node) compare(t *Target, sets Sets) (bool, error) {
	if n.right.variable && (n.right.value == "extras" || n.right.value == "dependency_groups") {
		return n.compareSet(sets)
	}
	if n.left.variable == n.right.variable {
		return false, fmt.Errorf("%s %s %s: want a variable and a string", n.left.value, n.op, n.right.value)
	}
	name := n.left.value
	if n.right.variable {
		name = n.right.value
	}
	value, ok := t.env[name]
	if !ok {
		return false, fmt.Errorf("%s is not known for a declared target", name)
	}
	left, right := value, n.right.value
	if n.right.variable {
		left, right = n.left.value, value
	}
	if isVersionVariable(name) {
		if ok, known := compareVersions(left, n.op, right); known {
			return ok, nil
		}
	}
	return compareStrings(left, n.op, right)
}

// compareVersions compares by PEP 440; what is no version or no comparison of
// versions is not known to it.
func compareVersions(left, op, right string) (ok, known bool) {
	switch op {
	case "in", "not in":
		return false, false
	case "===": // of versions as they are written
		return strings.EqualFold(left, right), true
	}
	wanted, err := pep440.NewSpecifiers(op+right, pep440.WithPreRelease(true))
	if err != nil {
		return false, false
	}
	v, err := pep440.Parse(left)
	if err != nil {
		return false, op == "~="
	}
	// 1.0rc1 is not before 1.0: "<" leaves out the pre-releases of what it names.
	if w, err := pep440.Parse(right); err == nil && op == "<" && v.IsPreRelease() && !w.IsPreRelease() && v.BaseVersion() == w.BaseVersion() {
		return false, true
	}
	return wanted.Check(v), true
}

func isVersionVariable(name string) bool {
	return name == "python_version" || name == "python_full_version" || name == "implementation_version"
}

// compareSet answers 'name' in extras.
func (n node) compareSet(sets Sets) (bool, error) {
	if n.left.variable || (n.op != "in" && n.op != "not in") {
		return false, fmt.Errorf("%s stands only to the right of 'name' in or not in", n.right.value)
	}
	values := sets.Extras
	if n.right.value == "dependency_groups" {
		values = sets.DependencyGroups
	}
	want := NormalizeName(n.left.value)
	has := slices.ContainsFunc(values, func(v string) bool { return NormalizeName(v) == want })
	return has == (n.op == "in"), nil
}

// compareStrings compares what is no version. Text has no order: <= and >=
// mean equality, < and > are false.
func compareStrings(left, op, right string) (bool, error) {
	switch op {
	case "==", "<=", ">=":
		return left == right, nil
	case "!=":
		return left != right, nil
	case "<", ">":
		return false, nil
	case "in":
		return strings.Contains(right, left), nil
	case "not in":
		return !strings.Contains(right, left), nil
	}
	return false, fmt.Errorf("%q %s %q: not a comparison of text", left, op, right)
}
