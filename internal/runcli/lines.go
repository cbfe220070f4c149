// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"bufio"
	"context"
	"io"
)

// lineReader reads lines from what cannot be interrupted, a terminal say.
type lineReader struct {
	lines chan string
	err   error // valid when lines is closed
}

// readLines begins to read r. The goroutine that does lives until r ends: a
// read that waits for the user has no other end, and the program has.
func readLines(ctx context.Context, r io.Reader) *lineReader {
	l := &lineReader{lines: make(chan string)}
	go func() {
		defer close(l.lines)
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, maxAnswerLine)
		for scanner.Scan() {
			select {
			case l.lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
		l.err = scanner.Err()
	}()
	return l
}

// next returns a line, "" at the end. The error is that of the reader, or ctx's
// cause.
func (l *lineReader) next(ctx context.Context) (string, error) {
	select {
	case line, ok := <-l.lines:
		if !ok {
			return "", l.err
		}
		return line, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
