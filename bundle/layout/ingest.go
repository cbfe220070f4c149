// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
)

// Ingest implements [bundle.Ingester]: the blob gets its name once it is
// hashed. Where one as large was there before, it is errors.ErrUnsupported:
// that is probably the same, and hashing costs less than writing it again.
// Errors: errors.ErrUnsupported, [bundle.ErrMismatch], those of open.
func (w *Writer) Ingest(ctx context.Context, what string, size int64, open bundle.Opener) (digest.Digest, error) {
	there, err := w.sizes()
	if err == nil && there[size] {
		err = errors.ErrUnsupported
	}
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", w.name, what, err)
	}
	rc, err := open(ctx)
	if err != nil {
		return "", err
	}
	seen := bundle.NewDigester(ctxio.Reader(ctx, rc), size)
	if err := errors.Join(w.writeStream(rc, seen), rc.Close()); err != nil {
		return "", fmt.Errorf("%s: %s: %w", w.name, what, err)
	}
	w.setRight(seen.Digest())
	return seen.Digest(), nil
}

// blobSizes are those of the blobs that are here, in the archive that is to be
// replaced included. What cannot be opened is no blob.
func (w *Writer) blobSizes() (sizes map[int64]bool, err error) {
	here, err := openDirectory(w.dir)
	if err != nil {
		return nil, err
	}
	defer closeInto(&err, here)
	places := []files{here}
	if w.old != nil {
		places = append(places, w.old.files)
	}
	sizes = map[int64]bool{}
	for _, p := range places {
		names, err := p.names()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if s, err := p.open(name); err == nil {
				sizes[s.Size()] = true
				_ = s.Close() // it was only looked at
			}
		}
	}
	return sizes, nil
}
