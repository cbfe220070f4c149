// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package bundle owns the formats of metalpack's artifacts and the interfaces
// by which their bytes move.
//
// # Start here
//
// A [Source] is where the bytes of an artifact come from, a [Target] is where
// they go; a registry, an OCI image layout, an archive, a build result and an
// installed version all look the same to install, resume, upgrade, repair and
// [Copy]. A [Reference] says where one lies. An [Environment] is the decoded
// metalpack/environment.json, a [Tree] the decoded metalpack/tree.
//
// # How it works
//
// An environment is one OCI image index. Each entry is an image manifest for
// one platform and one codec; the layers of the gzip and the zstd manifest
// hold the same tar streams, so both share one config and its diffIDs. The
// last layer, annotated [AnnotationLayer] = [MetadataLayer], holds nothing
// but metalpack/: environment.json, the tree, the recipe and the lock. It is
// fetched first, because the tree names every file of the environment with
// its mode, size, sha256 and the layer that carries it.
//
// A model is one OCI image manifest with one uncompressed layer per file
// (package bundle/model).
//
// # Promises
//
// Nothing read from outside is trusted: [ReadVerified] and [NewVerifier] check
// size and sha256 of everything, reads by digest included; decoders are
// strict and capped; a path is valid only if [CheckPath] says so. The package
// is a leaf: it imports no other package of this module but internal leaves.
// It prints nothing; progress is reported as [Event].
package bundle
