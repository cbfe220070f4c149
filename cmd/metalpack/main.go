// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Command metalpack is described in its package internal/cli.
package main

import (
	"os"

	"github.com/metalpack/metalpack/internal/cli"
	"github.com/metalpack/metalpack/internal/edge"
)

func main() {
	ctx, stop := edge.Signals()
	code := cli.Main(ctx, &edge.Env{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv})
	stop()
	os.Exit(code)
}
