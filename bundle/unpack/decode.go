// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/metalpack/metalpack/bundle"
)

// maxWindow is the zstd window of the format. A decoder without this cap
// allocates up to 512 MiB for a frame of 9 bytes.
const maxWindow = 8 << 20

// stream is the decoded content of one blob.
type stream struct {
	ctx      context.Context //nolint:containedctx // a reader has no other way to notice the end of its caller
	verifier *bundle.Verifier
	decoder  io.Reader
	left     int64         // bytes that may still be decoded
	finish   func() error  // checks that nothing follows the decoder's end
	close    func()        // releases the decoder
	buffered *bufio.Reader // between verifier and gzip, which must not read ahead of itself
}

// newStream decodes r by the media type of desc, at most budget bytes.
func newStream(ctx context.Context, r io.Reader, desc bundle.Descriptor, budget int64) (*stream, error) {
	if err := bundle.CheckDescriptor(desc); err != nil {
		return nil, err
	}
	s := &stream{ctx: ctx, verifier: bundle.NewVerifier(r, desc), left: budget, close: func() {}}
	var err error
	switch desc.MediaType {
	case bundle.MediaTypeLayerGzip:
		err = s.openGzip()
	case bundle.MediaTypeLayerZstd:
		err = s.openZstd()
	default:
		return nil, fmt.Errorf("media type %q: %w", desc.MediaType, bundle.ErrInvalid)
	}
	if err != nil {
		return nil, s.judge(err)
	}
	return s, nil
}

// openGzip reads one member and nothing else. Name, comment and extra field
// are unhashed places for other content, and our writer leaves them empty.
func (s *stream) openGzip() error {
	s.buffered = bufio.NewReaderSize(s.verifier, 256<<10)
	z, err := gzip.NewReader(s.buffered)
	if err != nil {
		return fmt.Errorf("gzip: %w", err)
	}
	if z.Name != "" || z.Comment != "" || len(z.Extra) > 0 {
		return fmt.Errorf("gzip: header with name, comment or extra field: %w", bundle.ErrInvalid)
	}
	z.Multistream(false)
	s.decoder = z
	s.finish = func() error {
		if _, err := s.buffered.ReadByte(); err == nil {
			return fmt.Errorf("gzip: something follows the first member: %w", bundle.ErrInvalid)
		} else if !errors.Is(err, io.EOF) {
			return err
		}
		return nil
	}
	return nil
}

func (s *stream) openZstd() error {
	z, err := zstd.NewReader(s.verifier, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return fmt.Errorf("zstd: %w", err)
	}
	s.decoder, s.close, s.finish = z, z.Close, func() error { return nil }
	return nil
}

// Read implements io.Reader with the byte budget and the caller's context.
func (s *stream) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	if int64(len(p)) > s.left+1 {
		p = p[:s.left+1]
	}
	n, err := s.decoder.Read(p)
	if s.left -= int64(n); s.left < 0 {
		return 0, fmt.Errorf("decodes to more bytes than the tree accounts for: %w", bundle.ErrInvalid)
	}
	return n, err
}

// end checks that the tar was the last thing in the stream and the stream the
// last thing in the blob, and that the blob was right.
func (s *stream) end() error {
	var one [1]byte
	n, err := io.ReadFull(s, one[:])
	if n > 0 {
		return fmt.Errorf("tar: bytes after the end: %w", bundle.ErrInvalid)
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	if err := s.finish(); err != nil {
		return err
	}
	return s.verifier.Finish()
}

// judge turns the error of a decoder into the reason for it: most damage is
// seen by a decoder before the digest shows it.
func (s *stream) judge(err error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if _, ok := errors.AsType[*diskError](err); ok {
		return err
	}
	switch ferr := s.verifier.Finish(); {
	case ferr != nil && errors.Is(err, ferr):
		return err
	case ferr != nil:
		return fmt.Errorf("%w (%w)", ferr, err)
	}
	if isOurs(err) {
		return err
	}
	return fmt.Errorf("%w: %w", err, bundle.ErrInvalid)
}

// isOurs reports whether an error needs no further classification: it carries
// a sentinel.
func isOurs(err error) bool {
	return errors.Is(err, bundle.ErrInvalid) || errors.Is(err, bundle.ErrMismatch) || errors.Is(err, bundle.ErrUnreachable)
}
