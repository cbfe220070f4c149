// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package hub owns the way to models on a Hugging Face hub, and in the cache
// that its clients keep on disk.
//
// # Start here
//
// [ParseReference] reads hf.co/org/name@revision; [Environment] makes the
// [Client] that the user's HF_ variables describe; [Client.Open] pins the
// revision to a commit and gives a [Repo]. [OpenSnapshot] gives a [Snapshot] of
// the cache. Both list files ([File]), open them from any byte and read small
// ones whole. [Select] parts the files that belong to a model from those that
// do not. [Repo.Origin] and [Snapshot.Origin] are a commit as package model builds
// from it; what the model card says is read there.
//
// # How it works
//
// The revision is resolved once; from then on only the commit is asked for. Its
// tree gives path and size of every file, the sha256 of large ones (those in
// LFS) and the git id of small ones, before a byte of content moves: a weight
// can be streamed into a registry, its digest known, with no copy on disk.
// Content is one stream that mends itself: cut or stalled, it asks the hub
// again for where the bytes lie, since such addresses are signed and expire,
// and goes on by Range.
//
// # Promises
//
// The token goes to the hub's own origin and nowhere else; neither it nor a
// signed address is ever part of an error, an event or a name. At most five
// redirects are followed, none from https to http. Every answer is bounded,
// every path obeys [bundle.CheckPath]. A file that is not, or no longer, what
// the tree said is [bundle.ErrMismatch]: by the hub's headers before the first
// byte, by size at the end of each stream. Streams are not hashed here: readers
// verify large files against [File].SHA256 with [bundle.NewVerifier]; ReadSmall
// verifies what it returns. Errors of a hub are [*Error]: they name repository,
// revision and file, wrap a sentinel of package bundle, and bring a hint.
//
// In a cache links are followed inside the one models-- directory, never out of
// it.
package hub
