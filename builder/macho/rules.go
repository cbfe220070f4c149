// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package macho

import (
	"fmt"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// Rules that a recipe can waive for a package or the interpreter. They hold for the slices of the
// target's CPU in files that a loader maps ([Slice.Loaded]).
const (
	RuleArch      = "arch"      // no slice for the target's CPU; waived: the file is of no use and stays
	RuleMalformed = "malformed" // no loader takes the structure; waived: the file is data
	RuleMinOS     = "minos"     // made for a newer macOS than the floor; waived: it is not loaded there
	RulePlatform  = "platform"  // made for another system than macOS, or for a simulator
	RuleUnsigned  = "unsigned"  // no signature, or none that lies in the file: arm64 kills who loads it
)

// Rules lists the rules that can be waived.
func Rules() []string {
	return []string{RuleArch, RuleMalformed, RuleMinOS, RulePlatform, RuleUnsigned}
}

// Target is what binaries must run on. The zero Target is not macOS and accepts
// every file.
type Target struct {
	CPU   string  // arm64, x86_64
	Floor Version // the oldest macOS; 0 = any
}

// NewTarget returns the target of a platform; for one that is not darwin, the
// zero Target. The error wraps [bundle.ErrInvalid].
func NewTarget(p bundle.Platform) (Target, error) {
	if p.OS != "darwin" {
		return Target{}, nil
	}
	t := Target{CPU: p.Arch}
	if p.Arch == "amd64" {
		t.CPU = "x86_64"
	}
	var err error
	if t.Floor, err = ParseVersion(p.MacOS); err != nil {
		return Target{}, fmt.Errorf("%s: macOS %w", p, err)
	}
	return t, nil
}

// Violation is a file that breaks a rule. It wraps [bundle.ErrInvalid].
type Violation struct {
	Owner string `json:"owner,omitempty"` // the package, or who else brought the file
	Path  string `json:"path,omitempty"`
	Rule  string `json:"rule"`
	Got   string `json:"got"`
	Want  string `json:"want"`
}

// Error names the file, what it is and what it should be.
func (v *Violation) Error() string {
	parts := slices.DeleteFunc([]string{v.Owner, v.Path, v.Got}, func(s string) bool { return s == "" })
	return fmt.Sprintf("%s, want %s (rule %s, which a recipe can waive): %v", strings.Join(parts, ": "), v.Want, v.Rule, bundle.ErrInvalid)
}

// Unwrap returns [bundle.ErrInvalid].
func (v *Violation) Unwrap() error { return bundle.ErrInvalid }

// Hint says what can be done about it.
func (v *Violation) Hint() string {
	if v.Rule == RuleMinOS {
		return "raise the target's os to what the file needs, or lock a release of the package that was made for an older macOS"
	}
	return "take another release of the package or interpreter, strip the file, or let it pass in the recipe, under wheels.waive or the interpreter's own waive (rule " + v.Rule + ")"
}

// Check returns the rules that a file breaks, without owner and path. Of a
// malformed file that is all there is to say.
func (t Target) Check(f File) (broken []*Violation) {
	add := func(rule, got, want string) {
		broken = append(broken, &Violation{Rule: rule, Got: got, Want: want})
	}
	switch {
	case t == Target{}:
		return nil
	case f.Malformed != "":
		add(RuleMalformed, "damaged Mach-O: "+f.Malformed, "a sound file")
		return broken
	case !f.Loaded():
		return nil
	}
	mine := t.loaded(f)
	if len(mine) == 0 {
		add(RuleArch, fmt.Sprintf("a %s for %s", f.Kind(), strings.Join(cpus(f), ", ")), t.CPU)
	}
	for _, s := range mine {
		if s.Signature != SignaturePresent {
			add(RuleUnsigned, signatureText(s.Signature), "a signature")
		}
		switch {
		case s.Platform != "" && s.Platform != PlatformMacOS:
			add(RulePlatform, "made for "+s.Platform, PlatformMacOS)
		case t.Floor != 0 && s.MinOS > t.Floor:
			add(RuleMinOS, fmt.Sprintf("needs macOS %s", s.MinOS), fmt.Sprintf("at most the floor %s", t.Floor))
		}
	}
	return broken
}

// loaded returns the slices that the target would load.
func (t Target) loaded(f File) (found []Slice) {
	for _, s := range f.Slices {
		if s.Loaded() && s.CPU == t.CPU {
			found = append(found, s)
		}
	}
	return found
}

// MinOS returns the newest minimum that a slice for the target's CPU declares;
// for the zero Target, that any slice does.
func (t Target) MinOS(f File) (newest Version) {
	for _, s := range f.Slices {
		if s.Loaded() && (s.CPU == t.CPU || t == Target{}) {
			newest = max(newest, s.MinOS)
		}
	}
	return newest
}

// cpus names what a file has slices for.
func cpus(f File) []string {
	names := make([]string, 0, len(f.Slices))
	for _, s := range f.Slices {
		names = append(names, s.CPU)
	}
	return names
}

// signatureText says what is wrong with a signature.
func signatureText(s Signature) string {
	switch s {
	case SignatureEmpty:
		return "an empty signature"
	case SignatureOutside:
		return "a signature outside of the file"
	case SignatureDamaged:
		return "a damaged signature"
	default:
		return "unsigned"
	}
}
