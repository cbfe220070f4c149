// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package modelstore reads and writes the model store that Docker Model Runner
// (DMR) keeps under the user's home: models that `docker model pull` fetched
// are found here, and models pulled by us appear there.
//
// # Start here
//
// [Open] a [Store] at [Dir]. [Store.List] and [Store.Find] tell what is in it,
// [Store.Pull] adds a model, [Store.Materialize] verifies one and gives the
// directory that an engine is started on. [Store.Check] and [Store.Repair] find
// and mend what is damaged, [Store.Remove] takes a model away, [Store.Usage]
// measures, and [Store.RemoveUnused] clears what belongs to no model.
//
// # How it works
//
// The store is content-addressed: blobs/sha256/<hex>, manifests/sha256/<hex>,
// and models.json, which names the manifests and their tags. DMR caches
// nothing and takes no lock. We write a blob beside its final name, rename it
// once its sha256 is known, and write models.json last and in place: only the
// bytes of our own entry change, and of a foreign entry only a tag that has
// moved to us. What is to replace it is synced first, and given up if another
// writer came in between; afterwards it is read again, at once and a little
// later, since such a writer may have put an older one back. A removal goes the
// other way round: first the entry, then the files that nothing in models.json
// names any more.
//
// What we know about the store lies in a state directory of our own, one for each
// store that a user has, as two may hold one model: the lock
// (the store's directory is locked too, for those of us with another state),
// which blobs have been hashed (by device, inode, size, mtime and ctime),
// removals that have begun, and one directory per materialised model. In it a
// weight file is a symlink to its blob. A hard link would fail on another disk, would change the ctime and
// link count of a file that is not ours, and protects no more: mode bits
// belong to the inode and the user owns it. What keeps an engine from writing
// through the link is its confinement, and what notices an unconfined one is
// the next use, which hashes again. Everything small, which engines and
// libraries do like to rewrite, is a read-only copy, verified as it is made.
//
// Where a DMR answers ([Daemon]), a pulled model is registered through its API,
// so that two programs do not write models.json at once. What it does not do,
// for whatever reason, is seen there and done by us.
//
// # Promises
//
// No byte of the store is trusted before it has been hashed. Nothing of a
// foreign entry is lost, unknown fields included. A damaged models.json, null
// fields and entries that cannot be read are reported, never a crash. Of
// bundles/, where DMR links the files of models, nothing is read or written; the
// links of a model that is removed go with it, as they would keep its bytes, and
// those of one whose blob was replaced, as they would keep the damaged ones. A
// store of another version than 1.x is read and not written to.
package modelstore
