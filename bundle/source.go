// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
)

// Source is where the bytes of artifacts come from: one repository of a
// registry, an OCI layout, an archive, a build result, an installed version.
// Implementations are safe for concurrent use. Decorators of the same
// interface add cache, limits, mirrors and verification.
type Source interface {
	// Resolve returns the descriptor that name (a tag or a digest) stands
	// for: its media type, digest and size. Errors: [ErrNotFound],
	// [ErrUnauthorized], [ErrUnreachable].
	Resolve(ctx context.Context, name string) (Descriptor, error)
	// Manifest returns the bytes of a manifest or index, checked against the
	// size and digest of desc and at most [MaxManifest] long. Errors:
	// [ErrNotFound], [ErrMismatch], [ErrUnauthorized], [ErrUnreachable].
	Manifest(ctx context.Context, desc Descriptor) ([]byte, error)
	// Open streams a blob from byte offset on. The bytes are not verified,
	// because a stream that begins in the middle cannot be: wrap it in
	// [NewVerifier]. A source that can resume does so inside the stream.
	// Errors as for Manifest.
	Open(ctx context.Context, desc Descriptor, offset int64) (io.ReadCloser, error)
	// Referrers lists the manifests whose subject is desc, unfiltered. A
	// source that knows of none returns an empty list and no error.
	Referrers(ctx context.Context, desc Descriptor) ([]Descriptor, error)
}

// Opener opens a blob's bytes from their beginning; a push that is tried again
// calls it again.
type Opener func(ctx context.Context) (io.ReadCloser, error)

// NamedStream is what the stream of an [Opener] can also be: the whole content
// of a file that nobody writes to any more. A target on the same file system
// may link the file, once it has checked the bytes, and set its mode and time.
type NamedStream interface {
	// FileName is the path of the file, or "".
	FileName() string
}

// KnownFile is what the stream of an [Opener] can also be: a file in the very
// state in which it had the blob's size and digest. A target that has the bytes
// checked anyway, as a registry does, may send the file instead of the stream,
// unhashed.
type KnownFile interface {
	// KnownFile is the file, open at its beginning, to be closed by the taker, and
	// whom to tell, now and then, how many bytes of it have moved; nil = there is
	// none.
	KnownFile() (f *os.File, moved func(offset int64))
}

// Cloner is what the stream of an [Opener] can also be: a file of which the file
// system can make a copy that shares its blocks. A target on the same file
// system reads the copy, and keeps it if its bytes are right: none is written.
type Cloner interface {
	// CloneTo makes path, which is not there, such a copy, from which the stream
	// goes on. It is called before the first Read. After an error all is as before.
	CloneTo(path string) error
}

// CloneTo is that of r if it is a [Cloner], and errors.ErrUnsupported if not.
func CloneTo(r io.Reader, path string) error {
	if c, ok := r.(Cloner); ok {
		return c.CloneTo(path)
	}
	return errors.ErrUnsupported
}

// Target is where the bytes of artifacts go. Implementations are safe for
// concurrent use and make nothing visible before it is complete.
type Target interface {
	// Exists reports whether the blob or manifest is already there.
	Exists(ctx context.Context, desc Descriptor) (bool, error)
	// Push writes a blob or a manifest ([IsManifest] of its media type tells
	// which). The bytes are checked against desc on their way; all that a
	// manifest names must have been pushed before it. Errors: [ErrMismatch],
	// [ErrUnauthorized], [ErrUnreachable].
	Push(ctx context.Context, desc Descriptor, open Opener) error
	// Tag makes name stand for a manifest that has been pushed.
	Tag(ctx context.Context, desc Descriptor, name string) error
}

// Ingester is what a [Target] can also be: a place that takes a blob before
// anybody knows its digest, so that its source is read once, to hash and to
// send it.
type Ingester interface {
	// Ingest writes a blob of size bytes; what names it in events. The digest
	// is that of the bytes that were taken. Errors: errors.ErrUnsupported where
	// the place probably has the blob, wants to know the digest first, or cannot
	// take it this way: then hash it, and Push; [ErrMismatch] if the source has another
	// size, [ErrUnauthorized], [ErrUnreachable], those of open.
	Ingest(ctx context.Context, what string, size int64, open Opener) (digest.Digest, error)
}
