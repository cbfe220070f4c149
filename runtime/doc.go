// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package runtime owns what is installed on the user's machine: environments,
// their versions, and which version is active.
//
// # Start here
//
// [OpenHome] finds the directory; [Home.Install] brings a version there and
// makes it active; [Home.Active] says which that is.
//
// # Layout
//
//	<home>/<name>/bin/python3 -> ../versions/<id>/bin/python3.12   which version is active
//	<home>/<name>/versions/<id>/                                   a version; files 0444 or 0555
//	<home>/<name>/versions/<id>/metalpack/installed.json           its marker: it is complete
//	<home>/.metalpack/staging/<id>/                                a version being made
//	<home>/.metalpack/state.json                                   active and previous versions
//	<home>/.metalpack/store.lock                                   held while anything changes; never deleted
//
// An id is the first 16 hex digits of the sha256 of the version's tree.
//
// # How it works
//
// Installing fills a directory from sources by sha256: what a broken attempt
// left, what other versions hold, and the layers of the artifact for the rest.
// Then come byte code, a sync, the probes and the marker; one rename puts the
// version in its place, and one rename of one symlink makes it active.
//
// # Promises
//
// Every byte was checked against the tree, which the manifest's digest covers.
// Until the last rename the version before is active and untouched, whatever
// fails or is killed; what was fetched is kept and used by the next attempt.
// One process at a time changes the store; others wait and say for whom.
package runtime
