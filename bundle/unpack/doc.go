// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package unpack owns the one extractor of environment layers.
//
// Start with [Metadata], which reads the layer that says what belongs to the
// environment, and go on with [Layer], which writes the files of another.
//
// # How it works
//
// A layer is read in one pass: blob bytes, their size and sha256, the codec
// named by the exact media type, tar, files. Every entry is looked up in the
// tree, which came first; a file is hashed while it is written and gets its
// final mode through its handle. Files that the caller has already are read
// over. A layer counts only when its blob had exactly the declared bytes and
// every file that the tree expects of it has come.
//
// # Promises
//
// Nothing is written outside the directory given, through a link or over a
// file that is there (os.Root, O_EXCL, links last). A file that is left behind
// under its final mode has the sha256 of the tree; one that does not is
// removed. What the layer profile does not allow is an error, never skipped:
// hard links, devices, sparse files, foreign owners and modes, GNU headers,
// unknown PAX records, whiteouts, names that [bundle.CheckPath] refuses,
// entries that the tree does not list or lists for another layer, entries that
// come twice. Never are more bytes decoded than the tree accounts for, and
// memory does not grow with what a header claims.
package unpack
