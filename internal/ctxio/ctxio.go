// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package ctxio owns reading that ends with a context. A long copy looks at
// the context between two reads, so that an interrupt is obeyed at once
// wherever the bytes come from.
package ctxio

import (
	"context"
	"io"
)

// Reader reads from r until ctx is done; then its error is the context's
// cause.
func Reader(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return r.Read(p)
	})
}

type readerFunc func(p []byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
