// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"

	"github.com/metalpack/metalpack/internal/edge"
)

func (a *app) versionVerb() verb {
	return verb{
		name: "version", short: "print the version of this program", example: "metalrun version",
		run: func(_ context.Context, args []string) error {
			if err := edge.WantArgs("version", args); err != nil {
				return err
			}
			v := edge.Version()
			return a.Result(v, v.String())
		},
	}
}
