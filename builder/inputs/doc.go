// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package inputs owns the bytes that builds start from: a cache keyed by
// sha256, the search for what is not in it, and the ways to hand all of it on.
//
// [Fetcher.Fetch] takes a list of [Want] and returns a path for each, looking
// in this order: the cache, the directories given (wheels/ beside the lock,
// --find-links), archives of inputs (--inputs-from), the file's own URL, and
// last the package index, which uv knows: one call tells the addresses of all
// that is still missing, matched by sha256. Addresses stay in memory. What is on
// no index is never asked for there, and a pin that uv cannot resolve does not
// keep the others from being found.
//
// [Wheelhouse] copies what was fetched into a directory for pip and uv, [Pack]
// makes an archive of it, which [OpenArchive] reads.
//
// # Promises
//
// A path that Fetch returns leads to the bytes of that sha256: whoever opens it
// need not hash them again. All were hashed when they came into the [Cache];
// that a file is still the one that was hashed is known from its stamp (inode,
// size, mtime, ctime), and it is read again when that changed. It stays until
// the caller's [Cache.Hold] is released.
//
// What does not match is not kept, an interrupted download goes on where it
// stopped, also in another process, and with a full cache neither uv nor a
// network is needed.
package inputs
