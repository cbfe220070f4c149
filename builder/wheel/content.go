// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// verified inflates a member and ends with an error unless it is what RECORD
// says.
func (w *Wheel) verified(m *member) *verified {
	rc := w.arch.open(m)
	sum := digest.NewDigestFromEncoded(digest.SHA256, m.sum)
	return &verified{bundle.NewVerifier(rc, bundle.Descriptor{Digest: sum, Size: m.size}), rc}
}

// verified is a member between its decoder and who reads it.
type verified struct {
	*bundle.Verifier
	member io.ReadCloser
}

// Close implements io.Closer.
func (v *verified) Close() error { return v.member.Close() }

// Deflated is implemented by contents from [File.Open].
type Deflated interface {
	// Deflated returns the deflate stream as which the content lies in the wheel, nil
	// if it is stored. Once the content was read to its end, and until it is closed,
	// whole is true, lastBlock is the bit at which the header of the last block
	// begins, and end the bit after it. The stream can be read then, as long as the
	// wheel is open. It ends with an error that wraps [bundle.ErrMismatch] if the
	// file has changed since the content was read.
	Deflated() (stream io.Reader, lastBlock, end int64, whole bool)
}

// Open inflates the file. The stream ends with an error that wraps
// [bundle.ErrMismatch] or [bundle.ErrInvalid] and names wheel and member unless
// its bytes are those of RECORD.
func (f File) Open() (io.ReadCloser, error) {
	if f.wheel == nil {
		return io.NopCloser(bytes.NewReader(f.content)), nil
	}
	return &namedReader{f.wheel.verified(f.member), f.wheel.File, f.member.name}, nil
}

// RecordError is a member whose bytes are not those of RECORD, in a wheel that
// as a file is what was asked for.
type RecordError struct {
	Wheel, Member string
	Err           error // wraps [bundle.ErrMismatch]
}

// Error names the wheel, the member and both hashes.
func (e *RecordError) Error() string {
	return fmt.Sprintf("%s: %s: not what RECORD says: %v", e.Wheel, e.Member, e.Err)
}

// Unwrap returns Err.
func (e *RecordError) Unwrap() error { return e.Err }

// Hint says what can be done about it.
func (e *RecordError) Hint() string {
	return "the wheel is the file that the lock names, its own RECORD is wrong: take another release of the package, or let it pass under wheels.waive in the recipe (rule " + RuleRecord + ")"
}

// namedReader says of whom an error speaks.
type namedReader struct {
	*verified
	wheel, name string
}

var _ Deflated = (*namedReader)(nil)

// Deflated implements [Deflated].
func (r *namedReader) Deflated() (stream io.Reader, lastBlock, end int64, whole bool) {
	in, ok := r.member.(*inflating)
	if !ok || in.z == nil {
		return nil, 0, 0, false
	}
	lastBlock, end, whole = in.z.LastBlock()
	again := io.NewSectionReader(in.packed, 0, in.packed.Size())
	return &reread{again, crc32.NewIEEE(), in.sum.Sum32(), r.wheel + ": " + r.name}, lastBlock, end, whole
}

// reread is a stream that was read before, when it was verified.
type reread struct {
	io.Reader
	sum  hash.Hash32
	want uint32
	name string
}

// Read implements io.Reader.
func (r *reread) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	_, _ = r.sum.Write(p[:n]) // a hash takes all
	if errors.Is(err, io.EOF) && r.sum.Sum32() != r.want {
		err = fmt.Errorf("%s: the wheel changed while it was read: %w", r.name, bundle.ErrMismatch)
	}
	return n, err
}

// Read implements io.Reader.
func (r *namedReader) Read(p []byte) (int, error) {
	n, err := r.verified.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if errors.Is(err, bundle.ErrMismatch) {
			return n, &RecordError{Wheel: r.wheel, Member: r.name, Err: err}
		}
		err = fmt.Errorf("%s: %s: %w", r.wheel, r.name, err)
	}
	return n, err
}
