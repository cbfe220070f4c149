// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package repotest owns the rules of this repository that a compiler or linter
// does not hold: headers, package comments, sizes, the direction of imports,
// workflows, the changelog, the README's commands. They are tests; each
// collects every breach and names the file. They parse files and start no
// program but git, to learn which files are tracked, and the go tool, to weigh
// metalrun.
package repotest
