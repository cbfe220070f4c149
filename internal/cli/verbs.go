// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/internal/edge"
)

// verbs lists the commands in the order of the help.
func (a *app) verbs() []*cobra.Command {
	return []*cobra.Command{
		a.newLockCmd(), a.newFetchCmd(), a.newBuildCmd(), a.newModelCmd(),
		a.newPushCmd(), a.newPullCmd(), a.newInspectCmd(), a.newDiffCmd(),
		a.newRegistryCmd(), a.newCacheCmd(), a.newRecipesCmd(), a.newVersionCmd(),
	}
}

const uvHint = "install uv so that it is on PATH (pipx install uv, or your package manager)"

// rows is what errors of metalpack alone mean to the user.
func rows() []edge.Row {
	return []edge.Row{
		{Is: lock.ErrNoUV, Code: edge.ExitError, Hint: uvHint},
		{Is: lock.ErrStale, Code: edge.ExitError, Hint: "make the lock anew: metalpack lock RECIPE"},
		{Is: target.ErrNoWheel, Code: edge.ExitUnsupported},
	}
}
