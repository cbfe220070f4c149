// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package embedpython owns the interpreter of the demo and of the acceptance
// tests: CPython 3.12.3 of python-build-standalone, as the Go module
// github.com/kluctl/go-embed-python carries it, written as a plain tar that
// looks like a python-build-standalone install_only archive.
//
// Start with [Module], which asks the go command for the module and checks its
// sum, then [Write], which converts one platform. It exists because a closed
// network often reaches package registries and the Go module proxy, and not
// release downloads. The module is test data: it is never in go.mod.
//
// # How it works
//
// The module holds, per platform, files.json (names, modes, link targets) and
// the files, some of them gzipped. Every one is copied under python/ but the
// bin/pip scripts, which name a pip that is not there. On linux the shared
// library is 90 percent debug sections: it is cut after its last program
// segment (see [cutELF]).
//
// # Promises
//
// The tar is the same on every host, byte for byte, and its sha256 is in
// [Outputs]; Write fails with [bundle.ErrMismatch] when it wrote anything
// else. It is plain, because a gzip's bytes change with the codec.
package embedpython

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// The module, its version, its sum as go.sum would have it, and the CPython
// version inside. No newer 3.12 exists there.
const (
	ModulePath    = "github.com/kluctl/go-embed-python"
	ModuleVersion = "v0.0.0-3.12.3-20240415-1"
	ModuleSum     = "h1:IX2O3LJUL0AjYsROGZ4aNENTEb3c/Ll/0b9Yb/8P61Q="
	Version       = "3.12.3"
)

// Output names one converted archive.
type Output struct {
	Platform string // os/arch
	File     string // the name that recipes use
	SHA256   string // of the tar, hex
	Size     int64
}

// Outputs lists what [Write] can make, by platform.
func Outputs() []Output {
	return []Output{
		{"darwin/arm64", "cpython-3.12.3-darwin-arm64.tar", "51da43bbdd6af56f49c4b5b059d0591e4c28b52067e5c749307d23a8887e55d4", 30938624},
		{"linux/amd64", "cpython-3.12.3-linux-amd64.tar", "a24d7b9a03859253cd85c6b360db60c4be7e00fc1459edda2620453f823aeb70", 40044544},
		{"linux/arm64", "cpython-3.12.3-linux-arm64.tar", "d0e03f6e3417ffef10defcaa12985d977df139bb490fe62dbe5fe6ef914346b3", 33504256},
	}
}

// Find returns the output for a platform. The error wraps
// [bundle.ErrUnsupportedHost] and lists the platforms there are.
func Find(platform string) (Output, error) {
	all := Outputs()
	if i := slices.IndexFunc(all, func(o Output) bool { return o.Platform == platform }); i >= 0 {
		return all[i], nil
	}
	var known []string
	for _, o := range all {
		known = append(known, o.Platform)
	}
	return Output{}, fmt.Errorf("embedpython: %s is not among %s: %w", platform, strings.Join(known, ", "), bundle.ErrUnsupportedHost)
}

// Module has the go command download the module and returns its directory in
// the module cache. It runs in an empty directory, so that no go.mod and no
// go.sum is touched. The error wraps [bundle.ErrMismatch] when the sum is not
// [ModuleSum], and [bundle.ErrUnreachable] when the module cannot be had.
func Module(ctx context.Context) (string, error) {
	empty, err := os.MkdirTemp("", "embedpython-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(empty) }() // empty; a leftover harms nothing
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", ModulePath+"@"+ModuleVersion)
	cmd.Dir = empty
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, runErr := cmd.Output()
	var answer struct {
		Dir   string `json:"Dir"`   //nolint:tagliatelle // the go command's name
		Sum   string `json:"Sum"`   //nolint:tagliatelle // likewise
		Error string `json:"Error"` //nolint:tagliatelle // likewise
	}
	if err := json.Unmarshal(out, &answer); err != nil && runErr == nil {
		return "", fmt.Errorf("embedpython: answer of go mod download: %w", err)
	}
	if runErr != nil {
		reason := errors.New(strings.TrimSpace(answer.Error + " " + stderr.String()))
		return "", fmt.Errorf("embedpython: %s@%s: %w: %w: %w", ModulePath, ModuleVersion, runErr, reason, bundle.ErrUnreachable)
	}
	if answer.Sum != ModuleSum {
		return "", fmt.Errorf("embedpython: %s@%s has sum %s, want %s: %w", ModulePath, ModuleVersion, answer.Sum, ModuleSum, bundle.ErrMismatch)
	}
	return answer.Dir, nil
}

// dataDir is where the module keeps the files of a platform.
func dataDir(module, platform string) string {
	return filepath.Join(module, "python", "internal", "data", strings.ReplaceAll(platform, "/", "-"))
}
