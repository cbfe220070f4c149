// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"io/fs"
	"syscall"

	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/runtime/launch"
	"github.com/metalpack/metalpack/verify"
)

// Where things lie is said by two variables. What is forbidden may lie elsewhere
// too: the layout that is to be installed, say.
const (
	elsewhere = "look at what is there, and who may read and write it; METALRUN_HOME names another directory for environments, MODELS_PATH one for models"
	fullDisk  = "make room: 'metalrun df' tells what takes it. Or name a place on another disk by METALRUN_HOME, for environments, or MODELS_PATH, for models; what is finished is kept"
)

// rows is what errors of metalrun alone mean to the user.
func rows() []edge.Row {
	return []edge.Row{
		{Is: verify.ErrProbe, Code: edge.ExitVerification, Hint: "nothing was activated; the probe's own words are above. Is the release meant for this system?"},
		{Is: verify.ErrDamaged, Code: edge.ExitVerification, Hint: "'metalrun verify --repair' mends it: files that are right are kept, the others fetched again"},
		{Is: launch.ErrNotReady, Code: edge.ExitError},
		{Is: launch.ErrExited, Code: edge.ExitError},
		{Is: fs.ErrPermission, Code: edge.ExitError, Hint: elsewhere},
		{Is: syscall.EROFS, Code: edge.ExitError, Hint: elsewhere},
		{Is: syscall.ENOTDIR, Code: edge.ExitError, Hint: elsewhere},
		{Is: syscall.ENOSPC, Code: edge.ExitError, Hint: fullDisk},
		{Is: syscall.EDQUOT, Code: edge.ExitError, Hint: fullDisk},
	}
}
