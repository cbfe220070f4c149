// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package macho

import (
	"errors"
	"io"
)

// Watch lets the bytes of a file pass a [Checker] on their way to whoever reads
// it. done gets the facts once, when rc says [io.EOF]: of a file that was not read
// to its end, or whose reader found it to be another, nothing is said.
func Watch(rc io.ReadCloser, done func(File)) io.ReadCloser {
	return &watcher{ReadCloser: rc, done: done}
}

type watcher struct {
	io.ReadCloser
	checker Checker
	done    func(File)
}

// Read implements io.Reader.
func (w *watcher) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	_, _ = w.checker.Write(p[:n]) // it never fails
	if errors.Is(err, io.EOF) && w.done != nil {
		w.done(w.checker.File())
		w.done = nil
	}
	return n, err
}
