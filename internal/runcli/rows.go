// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/runtime"
	"github.com/metalpack/metalpack/runtime/launch"
	"github.com/metalpack/metalpack/verify"
)

// rows is what errors of metalrun alone mean to the user.
func rows() []edge.Row {
	return []edge.Row{
		{Is: verify.ErrProbe, Code: edge.ExitVerification, Hint: "nothing was activated; the probe's own words are above. Is the release meant for this system?"},
		{Is: verify.ErrDamaged, Code: edge.ExitVerification, Hint: "'metalrun verify --repair' mends it: files that are right are kept, the others fetched again"},
		{Is: runtime.ErrNotEnvironment, Code: edge.ExitError, Hint: "if it is a model: 'metalrun pull REFERENCE'"},
		{Is: launch.ErrNotReady, Code: edge.ExitError},
		{Is: launch.ErrExited, Code: edge.ExitError},
	}
}
