// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package inflate decodes deflate streams (RFC 1951), about twice as fast as
// compress/flate, because a build spends a third of its time there otherwise.
//
// Start with [Reader]. It is strict: the source must end where the stream ends,
// and the codes that zlib refuses are refused.
//
// # How it works
//
// Whole words of input go into a bit buffer of 64 bits, which then has enough
// for several symbols without another look at the input. One lookup in a table
// gives a literal, or a length with its extra bits; longer codes go by way of a
// second one. Matches are copied 16 bytes at a time over the end of what they
// have to, because what follows is written next. All of that needs some room in
// both buffers; near their ends each symbol is decoded with all checks.
package inflate

import (
	"errors"
	"io"
)

// ErrCorrupt is returned for input that is no deflate stream, and ErrTrailing
// for input that goes on after the end of one. Input that ends early gives
// [io.ErrUnexpectedEOF].
var (
	ErrCorrupt  = errors.New("corrupt deflate stream")
	ErrTrailing = errors.New("data after the end of the compressed stream")
)

const (
	window   = 32 << 10  // bytes: how far back a match can reach
	chunk    = 128 << 10 // bytes decoded at once
	maxMatch = 258
	word     = 16 // bytes that a match is copied by

	inSize  = 64 << 10 // bytes read at once
	outSize = window + chunk + outRoom
	// Room that fast needs: for a match and the literals before it, and for the
	// bytes that it writes over the end; for two words of input.
	outRoom = maxMatch + word + 8
	inRoom  = 16
)

// Reader inflates one stream after the other. The zero Reader is at the end of
// a stream; [Reader.Reset] gives it the next. It holds about 250 kB.
type Reader struct {
	src    io.Reader
	srcErr error // what src ended with
	in     []byte
	pos    int   // in[pos:] is not in bits yet
	gone   int64 // bytes of input before in

	bits  uint64 // the next input, from the lowest bit
	nbits uint   // how much of bits is valid

	out   []byte
	given int // out[:given] has been read by the caller
	made  int // out[given:made] has not

	next      func(*Reader) error // what comes next in the stream
	err       error               // after out[:made]
	final     bool                // this block is the last
	finalBit  int64               // where its header begins
	endBit    int64               // where it ends; 0 before that
	stored    int                 // bytes left of a stored block
	lit, dist *table              // of this block
	extra     uint64              // bits after the code that lookup found
	own       *[2]table           // of dynamic blocks
}

// Reset makes r read the stream that src holds, from its beginning.
func (r *Reader) Reset(src io.Reader) {
	if r.in == nil {
		r.in, r.out, r.own = make([]byte, 0, inSize), make([]byte, outSize), new([2]table)
	}
	r.src, r.srcErr, r.in, r.pos = src, nil, r.in[:0], 0
	r.bits, r.nbits, r.gone = 0, 0, 0
	r.given, r.made, r.endBit = 0, 0, 0
	r.next, r.err, r.final = (*Reader).header, nil, false
}

// Read implements io.Reader. Errors are [ErrCorrupt], [ErrTrailing],
// [io.ErrUnexpectedEOF] or those of the source.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.given == r.made {
		if r.err != nil {
			return 0, r.err
		}
		if r.next == nil {
			return 0, io.EOF
		}
		r.fill()
	}
	n := copy(p, r.out[r.given:r.made])
	r.given += n
	return n, nil
}

// fill decodes until out is full or the stream ends. All before has been read.
func (r *Reader) fill() {
	if keep := min(r.made, window); r.made > window {
		copy(r.out, r.out[r.made-keep:r.made])
		r.given, r.made = keep, keep
	}
	for r.made < window+chunk && r.err == nil {
		r.err = r.next(r)
	}
}

// more reads input, after what is left of it, until the buffer is full or the
// source has ended. It reports whether there is any.
func (r *Reader) more() bool {
	r.gone += int64(r.pos)
	left := copy(r.in[:cap(r.in)], r.in[r.pos:])
	r.in, r.pos = r.in[:left], 0
	for r.srcErr == nil && len(r.in) < cap(r.in) {
		var n int
		n, r.srcErr = r.src.Read(r.in[len(r.in):cap(r.in)])
		r.in = r.in[:len(r.in)+n]
	}
	return len(r.in) > 0
}

// want gets n bits, at most 48, into the buffer, if the source has them.
func (r *Reader) want(n uint) bool {
	for r.nbits < n {
		if r.pos == len(r.in) && !r.more() {
			return false
		}
		r.bits |= uint64(r.in[r.pos]) << r.nbits
		r.pos++
		r.nbits += 8
	}
	return true
}

// need is want for bits without which the stream makes no sense.
func (r *Reader) need(n uint) error {
	switch {
	case r.want(n):
		return nil
	case errors.Is(r.srcErr, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return r.srcErr
}

// take removes n bits, which are there, from the buffer.
func (r *Reader) take(n uint) uint64 {
	v := r.bits & (1<<n - 1)
	r.bits >>= n
	r.nbits -= n
	return v
}

// header reads the start of a block.
func (r *Reader) header() error {
	if r.final {
		return r.end()
	}
	if err := r.need(3); err != nil {
		return err
	}
	r.finalBit = r.at()
	r.final = r.take(1) == 1
	switch r.take(2) {
	case 0:
		return r.storedHeader()
	case 1:
		f := fixed()
		r.lit, r.dist = &f[0], &f[1]
	case 2:
		if err := r.dynamicHeader(); err != nil {
			return err
		}
	default:
		return ErrCorrupt
	}
	r.next = (*Reader).symbols
	return nil
}

// at is how many bits of the input have been decoded.
func (r *Reader) at() int64 { return 8*(r.gone+int64(r.pos)) - int64(r.nbits) }

// LastBlock returns the bit of the input at which the header of the last block
// begins, with the flag that says so, and the bit after its end; ok is false
// until Read has returned io.EOF.
func (r *Reader) LastBlock() (begin, end int64, ok bool) {
	return r.finalBit, r.endBit, r.endBit > 0 && errors.Is(r.err, io.EOF)
}

// end follows the last block.
func (r *Reader) end() error {
	r.next, r.endBit = nil, r.at()
	if r.nbits >= 8 || r.pos < len(r.in) || r.more() {
		return ErrTrailing
	}
	return r.srcErr
}

func (r *Reader) storedHeader() error {
	r.take(r.nbits % 8)
	if err := r.need(32); err != nil {
		return err
	}
	n, inverse := r.take(16), r.take(16)
	if n != inverse^0xffff {
		return ErrCorrupt
	}
	r.stored, r.next = int(n), (*Reader).copyStored
	return nil
}

// copyStored moves what there is of a stored block.
func (r *Reader) copyStored() error {
	for r.stored > 0 && r.made < window+chunk {
		if r.nbits > 0 { // whole bytes
			r.out[r.made] = byte(r.take(8))
			r.made++
			r.stored--
			continue
		}
		if r.pos == len(r.in) {
			if err := r.need(8); err != nil {
				return err
			}
			continue
		}
		n := copy(r.out[r.made:min(r.made+r.stored, window+chunk)], r.in[r.pos:])
		r.pos += n
		r.made += n
		r.stored -= n
	}
	if r.stored == 0 {
		r.next = (*Reader).header
	}
	return nil
}

// dynamicHeader reads the codes of a block, RFC 1951 section 3.2.7.
func (r *Reader) dynamicHeader() error {
	if err := r.need(14); err != nil {
		return err
	}
	lit, dist, n := int(r.take(5))+257, int(r.take(5))+1, int(r.take(4))+4
	if lit > 286 || dist > 30 {
		return ErrCorrupt
	}
	var lengths [numLit + numDist]uint8
	for _, s := range lenOrder[:n] {
		if err := r.need(3); err != nil {
			return err
		}
		lengths[s] = uint8(r.take(3))
	}
	r.lit, r.dist = &r.own[0], &r.own[1]
	// The lit table holds these codes until it is needed for its own.
	if !r.lit.build(lengths[:numLen], lenMeaning) {
		return ErrCorrupt
	}
	clear(lengths[:])
	if err := r.codeLengths(lengths[:lit+dist]); err != nil {
		return err
	}
	if lengths[256] == 0 || !r.lit.build(lengths[:lit], litMeaning) || !r.dist.build(lengths[lit:lit+dist], distMeaning) {
		return ErrCorrupt
	}
	return nil
}

// codeLengths reads the lengths of both sets of codes, which are coded together.
func (r *Reader) codeLengths(lengths []uint8) error {
	for i := 0; i < len(lengths); {
		e, err := r.lookup(r.lit)
		if err != nil {
			return err
		}
		s := uint8(e >> valueShift)
		if s < 16 {
			lengths[i] = s
			i++
			continue
		}
		var again int
		switch s {
		case 16:
			if i == 0 {
				return ErrCorrupt
			}
			s, again = lengths[i-1], 3+int(r.extra)
		case 17:
			s, again = 0, 3+int(r.extra)
		case 18:
			s, again = 0, 11+int(r.extra)
		}
		if i+again > len(lengths) {
			return ErrCorrupt
		}
		for range again {
			lengths[i] = s
			i++
		}
	}
	return nil
}
