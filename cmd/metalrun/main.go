// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Command metalrun is described in its package internal/runcli.
package main

import (
	"os"

	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/runcli"
)

func main() {
	ctx, stop := edge.Signals()
	code := runcli.Main(ctx, &edge.Env{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv})
	stop()
	os.Exit(code)
}
