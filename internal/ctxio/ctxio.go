// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package ctxio owns reading that ends with a context. A long copy looks at
// the context between two reads, so that an interrupt is obeyed at once
// wherever the bytes come from; what waits in the operating system, for a
// terminal or a pipe, is left behind.
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

// Wait returns what f returns, or, when ctx is done before, its cause. Then f
// runs on with nobody to hear of it, and must own all that it uses: it is for
// opening and reading what cannot be interrupted, in a program that is about to
// end.
func Wait[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
