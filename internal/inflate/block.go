// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inflate

import "encoding/binary"

// symbols decodes what there is of a compressed block, or as much as out takes.
func (r *Reader) symbols() error {
	for r.made < window+chunk {
		if len(r.in)-r.pos < inRoom && r.srcErr == nil {
			r.more()
		}
		step := r.symbol
		if len(r.in)-r.pos >= inRoom {
			step = r.fast
		}
		if end, err := step(); end || err != nil {
			r.next = (*Reader).header
			return err
		}
	}
	return nil
}

// symbol decodes one literal or match, with every check. It reports whether it
// was the end of the block instead.
func (r *Reader) symbol() (end bool, err error) {
	e, err := r.lookup(r.lit)
	switch {
	case err != nil:
		return false, err
	case e&literal != 0:
		r.out[r.made] = byte(e >> valueShift)
		r.made++
		return false, nil
	case e&endOfBlock != 0:
		return true, nil
	}
	n := int(e>>valueShift) + int(r.extra)
	if e, err = r.lookup(r.dist); err != nil {
		return false, err
	}
	d := int(e>>valueShift) + int(r.extra)
	if d > r.made {
		return false, ErrCorrupt
	}
	copyMatch(r.out, r.made, d, n)
	r.made += n
	return false, nil
}

// lookup removes a code and its extra bits from the input.
func (r *Reader) lookup(t *table) (e uint32, err error) {
	r.want(maxCode) // or what there is
	e = t.first(r.bits)
	if e&pointer != 0 {
		e = t.second(e, r.bits)
	}
	if e&invalid != 0 {
		if r.nbits < maxCode { // the code may go on
			return 0, r.need(maxCode)
		}
		return 0, ErrCorrupt
	}
	if err := r.need(uint(e & totalMask)); err != nil {
		return 0, err
	}
	code := uint(e >> codeShift & codeMask)
	r.take(code)
	r.extra = r.take(uint(e&totalMask) - code)
	return e, nil
}

// fast decodes while both buffers have the room for it. It reports whether the
// block has ended.
func (r *Reader) fast() (end bool, err error) {
	in, pos, bits, nbits := r.in, r.pos, r.bits, r.nbits
	out, made, lit, dist := r.out, r.made, r.lit, r.dist
	for pos+inRoom <= len(in) && made < window+chunk {
		bits |= binary.LittleEndian.Uint64(in[pos:]) << (nbits & 63)
		pos += int((63 - nbits) >> 3)
		nbits |= 56
		// Of 56 bits, three literals of the first table take 33 at most; two and
		// a length leave 14.
		e := lit.first(bits)
		for i := 0; i < 2 && e&literal != 0; i++ {
			bits >>= e & totalMask
			nbits -= uint(e & totalMask)
			out[made] = byte(e >> valueShift)
			made++
			e = lit.first(bits)
		}
		if e&pointer != 0 {
			e = lit.second(e, bits)
		}
		saved := bits
		bits >>= e & totalMask
		nbits -= uint(e & totalMask)
		if e&literal != 0 {
			out[made] = byte(e >> valueShift)
			made++
			continue
		}
		if e&(endOfBlock|invalid) != 0 {
			end = e&endOfBlock != 0
			if !end {
				err = ErrCorrupt
			}
			break
		}
		n := int(e>>valueShift) + extraOf(e, saved)
		bits |= binary.LittleEndian.Uint64(in[pos:]) << (nbits & 63)
		pos += int((63 - nbits) >> 3)
		nbits |= 56
		e = dist.first(bits)
		if e&pointer != 0 {
			e = dist.second(e, bits)
		}
		d := int(e>>valueShift) + extraOf(e, bits)
		bits >>= e & totalMask
		nbits -= uint(e & totalMask)
		if d > made || e&invalid != 0 {
			err = ErrCorrupt
			break
		}
		if n <= word && d >= word {
			*(*[word]byte)(out[made:]) = *(*[word]byte)(out[made-d:])
		} else {
			copyMatch(out, made, d, n)
		}
		made += n
	}
	r.pos, r.bits, r.nbits, r.made = pos, bits&(1<<nbits-1), nbits, made
	return end, err
}

// copyMatch copies n bytes from d before out[made:] to there. It may write up to
// word-1 bytes more.
func copyMatch(out []byte, made, d, n int) {
	to, from := out[made:made+n+word], out[made-d:]
	switch {
	case d >= word:
		for i := 0; i < n; i += word {
			*(*[word]byte)(to[i:]) = *(*[word]byte)(from[i:])
		}
	case d >= word/2:
		for i := 0; i < n; i += word / 2 {
			*(*[word / 2]byte)(to[i:]) = *(*[word / 2]byte)(from[i:])
		}
	case d == 1:
		same := uint64(from[0]) * 0x0101010101010101
		for i := 0; i < n; i += 8 {
			binary.LittleEndian.PutUint64(to[i:], same)
		}
	default:
		for i := range to[:n] {
			to[i] = from[i]
		}
	}
}
