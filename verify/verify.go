// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package verify turns an installed environment into a report: are its files
// what its tree says, and does it work on this machine.
//
// Start with [Tree] for the files and [Probes] for the rest.
//
// # How it works
//
// Tree looks at every file, by its size and mode or, when asked to be deep, by
// its sha256, and at every name that should not be there. Probes climbs a
// ladder: the interpreter runs and is the right one, then what the environment
// itself lists. Each rung is a child process in an environment built from
// nothing, in an empty directory, with a deadline; the first that fails ends
// the climb.
//
// # Promises
//
// A report names everything that is wrong, not the first. A rung that cannot
// run on this host is skipped by name and never counts as passed. No process
// of a probe lives longer than the probe. Nothing is written to the
// environment.
package verify

import (
	"errors"
	"fmt"
	"strings"
)

// Sentinels.
var (
	// ErrDamaged: files are missing, changed or foreign.
	ErrDamaged = errors.New("damaged")
	// ErrProbe: the environment does not work on this machine.
	ErrProbe = errors.New("probe failed")
)

// Failure is one thing that is wrong with a tree.
type Failure struct {
	Path string `json:"path"`
	Want string `json:"want"`
	Got  string `json:"got"`
	Err  error  `json:"-"` // bundle.ErrNotFound: missing; ErrMismatch: changed; ErrInvalid: should not be there; or an error of the disk
}

// Error implements error.
func (f Failure) Error() string {
	return fmt.Sprintf("%s: %s, want %s", f.Path, f.Got, f.Want)
}

// Unwrap returns the sentinel.
func (f Failure) Unwrap() error { return f.Err }

// Report is what [Tree] found.
type Report struct {
	Checked  int       `json:"checked"` // files and links
	Bytes    int64     `json:"bytes"`   // of files; those that were read, when deep
	Failures []Failure `json:"failures"`
}

// shownFailures is how many failures an error's text names.
const shownFailures = 5

// Err is nil for a report without failures, else an error that wraps
// [ErrDamaged] and all of them.
func (r Report) Err() error {
	if len(r.Failures) == 0 {
		return nil
	}
	return &damagedError{r}
}

type damagedError struct{ report Report }

func (e *damagedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d files: %v", len(e.report.Failures), e.report.Checked, ErrDamaged)
	for i, f := range e.report.Failures {
		if i == shownFailures {
			fmt.Fprintf(&b, "; and %d more", len(e.report.Failures)-i)
			break
		}
		b.WriteString("; " + f.Error())
	}
	return b.String()
}

func (e *damagedError) Unwrap() []error {
	errs := make([]error, 0, 1+len(e.report.Failures))
	errs = append(errs, ErrDamaged)
	for _, f := range e.report.Failures {
		errs = append(errs, f)
	}
	return errs
}
