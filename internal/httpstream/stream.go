// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package httpstream owns what every long transfer over HTTP needs, whoever
// answers: a guard against connections that have gone silent ([Watchdog]), a
// stream that goes on from the byte it has reached ([Source]), requests sent
// again after a pause that is jittered or that the server asked for ([Retry]),
// and the question whether an error may pass ([Passing]).
//
// It knows no registry and no credentials: package users say how to connect
// and put names on errors.
package httpstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// progressMade is how many bytes earn a stream a fresh count of tries.
const progressMade = 256 << 10

// Source says how to read one thing of known size over as many connections as
// it takes.
type Source struct {
	Size  int64 // offset of the end, in bytes
	Tries int   // connections in a row that may fail after the first

	// Connect returns a body that begins at offset.
	Connect func(offset int64) (io.ReadCloser, error)
	// Pause passes the time before try attempt+1, or says why not.
	Pause func(attempt int, offset int64, reason error) error
	// Passing reports whether Connect may do better next time; nil = [Passing].
	Passing func(error) bool
	// Done reports whether nobody wants the bytes any more.
	Done func() bool
	// Fail puts the name of the thing on an error.
	Fail func(error) error
}

// Open makes the first connection and returns the stream from offset on. Whoever
// is not there is told at once; a server that took the request and said nothing is
// asked again. Bytes are not verified. Its errors are those of Fail.
func (s Source) Open(offset int64) (io.ReadCloser, error) {
	if s.Passing == nil {
		s.Passing = Passing
	}
	body, err := s.Connect(offset)
	if err == nil {
		return &stream{Source: s, offset: offset, mark: offset, body: body}, nil
	}
	if !errors.Is(err, ErrStalled) || offset >= s.Size {
		return nil, s.Fail(err)
	}
	first := &stream{Source: s, offset: offset, mark: offset, body: http.NoBody}
	if err := first.resume(err); err != nil {
		return nil, err
	}
	return first, nil
}

// stream is a Source being read. Errors stay.
type stream struct {
	Source
	offset  int64 // of the next byte
	mark    int64 // where the count of tries began
	attempt int   // tries since mark
	body    io.ReadCloser
	err     error
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	for {
		n, err := s.body.Read(p)
		s.offset += int64(n)
		if errors.Is(err, io.EOF) && s.offset < s.Size {
			err = io.ErrUnexpectedEOF
		}
		if s.offset > s.Size {
			s.err = s.Fail(fmt.Errorf("the server sends more than %d bytes: %w", s.Size, bundle.ErrMismatch))
			return 0, s.err
		}
		if s.offset-s.mark >= progressMade {
			s.mark, s.attempt = s.offset, 0
		}
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, io.EOF):
			s.err = io.EOF
			return n, io.EOF
		}
		if s.err = s.resume(err); s.err != nil || n > 0 {
			return n, s.err
		}
	}
}

// resume replaces the connection that reason ended.
func (s *stream) resume(reason error) error {
	if s.offset >= s.Size {
		// All bytes came and only the end of the answer was lost; whoever
		// verifies them will say whether they are right.
		return io.EOF
	}
	for {
		_ = s.body.Close() // it has failed already
		if s.attempt++; s.attempt > s.Tries || s.Done() {
			return s.Fail(reason)
		}
		if err := s.Pause(s.attempt, s.offset, reason); err != nil {
			return s.Fail(err)
		}
		body, err := s.Connect(s.offset)
		if err == nil {
			s.body = body
			return nil
		}
		if !s.Passing(err) {
			return s.Fail(err)
		}
		reason = err
	}
}

// Close implements io.Closer.
func (s *stream) Close() error {
	if s.err == nil {
		s.err = io.ErrClosedPipe
	}
	return s.body.Close()
}

// Begin makes the answer to a request from offset on begin there: a server
// that ignores the range begins at 0, and what is known already is read and
// dropped. Size is that of the whole. Errors: [bundle.ErrMismatch] if the
// server has another size, [bundle.ErrInvalid] for a range nobody asked for.
func Begin(b *Body, size, offset int64) error {
	if b.Response.StatusCode == http.StatusOK {
		if n := b.Response.ContentLength; n >= 0 && n != size {
			return fmt.Errorf("the server has %d bytes, want %d: %w", n, size, bundle.ErrMismatch)
		}
		if _, err := io.CopyN(io.Discard, b, offset); err != nil {
			return noEOF(err)
		}
		return nil
	}
	said := b.Response.Header.Get("Content-Range")
	start, total, ok := contentRange(said)
	if !ok || start != offset {
		return fmt.Errorf("asked from byte %d on, got range %.60q: %w", offset, said, bundle.ErrInvalid)
	}
	if total >= 0 && total != size {
		return fmt.Errorf("the server has %d bytes, want %d: %w", total, size, bundle.ErrMismatch)
	}
	return nil
}

// contentRange reads "bytes a-b/total"; an unknown total ("*") is -1.
func contentRange(s string) (start, total int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, all, ok2 := strings.Cut(s, "/")
	first, _, ok3 := strings.Cut(span, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	if !ok || !ok2 || !ok3 || err != nil {
		return 0, 0, false
	}
	if all == "*" {
		return start, -1, true
	}
	total, err = strconv.ParseInt(all, 10, 64)
	return start, total, err == nil
}

// noEOF makes an early end an error that is not mistaken for a proper one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
