// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inflate

import (
	"math/bits"
	"sync"
)

// An entry of a table, from its lowest bit: how many bits the code and its extra
// bits take, how many of these the code, flags, and the value: a literal, the
// base of a length or distance, the code length that a code length code means,
// or where the second table begins.
const (
	totalMask  = 0x3f
	codeShift  = 6
	codeMask   = 0xf
	literal    = 1 << 10
	endOfBlock = 1 << 11
	pointer    = 1 << 12 // total is the number of bits that index the second table
	invalid    = 1 << 13
	valueShift = 16
)

const (
	maxCode   = 15 // bits of a code, RFC 1951 section 3.2.7
	firstBits = 11 // that index a first table at most
	// The most entries that both tables of 288 codes can have is 2342, as zlib's
	// enough program counts them.
	tableSize = 1 << 12

	numLit, numDist, numLen = 288, 32, 19
)

// table decodes one set of codes.
type table struct {
	mask    uint64 // of the bits that index the first table
	entries [tableSize]uint32
}

// first looks the next bits up. The entry is a pointer if the code is longer.
func (t *table) first(bits uint64) uint32 { return t.entries[bits&t.mask&(tableSize-1)] }

// second follows a pointer.
func (t *table) second(e uint32, next uint64) uint32 {
	next >>= firstBits
	return t.entries[(uint64(e>>valueShift)+next&(1<<(e&totalMask)-1))&(tableSize-1)]
}

// extraOf is the number in the extra bits of an entry.
func extraOf(e uint32, bits uint64) int {
	return int(bits & (1<<(e&totalMask) - 1) >> (e >> codeShift & codeMask))
}

// build makes the table of codes with these lengths, where meaning has what each
// of them stands for. It reports whether they are a set that zlib takes: each
// string of bits begins with one code, or there is one code of one bit, or none.
func (t *table) build(lengths []uint8, meaning []uint32) bool {
	var count, next [maxCode + 1]int
	longest := 0
	for _, n := range lengths {
		count[n]++
		longest = max(longest, int(n))
	}
	code, space := 0, 1
	for n := 1; n <= maxCode; n++ {
		next[n] = code
		code = (code + count[n]) << 1
		space = space<<1 - count[n]
		if space < 0 {
			return false
		}
	}
	width := min(max(longest, 1), firstBits)
	t.mask = 1<<width - 1
	if space > 0 {
		if longest > 1 {
			return false
		}
		t.entries[0], t.entries[1] = invalid, invalid
	}
	if longest > firstBits {
		t.pointers(lengths, next, 1<<width)
	}
	for s, n := range lengths {
		if n == 0 {
			continue
		}
		rev := reversed(next[n], n)
		next[n]++
		e := meaning[s] + uint32(n) + uint32(n)<<codeShift
		at, end, step := rev, 1<<width, 1<<n
		if n > firstBits {
			p := t.entries[rev&(1<<firstBits-1)]
			at = int(p>>valueShift) + rev>>firstBits
			end = int(p>>valueShift) + 1<<(p&totalMask)
			step = 1 << (n - firstBits)
		}
		for ; at < end; at += step {
			t.entries[at] = e
		}
	}
	return true
}

// pointers makes the entries of the first table that lead to a second one. The
// second tables begin at free, each as large as its longest code asks for.
func (t *table) pointers(lengths []uint8, next [maxCode + 1]int, free int) {
	var deep [1 << firstBits]uint8 // bits that index the second table, by the first bits of a code
	for _, n := range lengths {
		if n > firstBits {
			prefix := reversed(next[n], n) & (1<<firstBits - 1)
			deep[prefix] = max(deep[prefix], n-firstBits)
		}
		next[n]++
	}
	for prefix, n := range deep {
		if n > 0 {
			t.entries[prefix] = pointer | uint32(n) | uint32(free)<<valueShift
			free += 1 << n
		}
	}
}

// reversed is a code of n bits as it lies in the input: the first bit lowest.
func reversed(code int, n uint8) int { return int(bits.Reverse16(uint16(code)) >> (16 - n)) }

// What codes mean: RFC 1951 sections 3.2.5 and 3.2.7.
var (
	litMeaning  = meaningOfLit()
	distMeaning = meaningOfDist()
	lenMeaning  = meaningOfLen()
	lenOrder    = [numLen]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

func meaningOfLit() []uint32 {
	m := make([]uint32, numLit)
	for s := range uint32(256) {
		m[s] = literal | s<<valueShift
	}
	m[256] = endOfBlock
	base := uint32(3)
	for s := uint32(257); s < 285; s++ {
		extra := uint32(0)
		if s >= 265 {
			extra = (s - 261) / 4
		}
		m[s] = extra | base<<valueShift
		base += 1 << extra
	}
	m[285] = maxMatch << valueShift
	m[286], m[287] = invalid, invalid
	return m
}

func meaningOfDist() []uint32 {
	m := make([]uint32, numDist)
	base := uint32(1)
	for s := range uint32(30) {
		extra := uint32(0)
		if s >= 4 {
			extra = (s - 2) / 2
		}
		m[s] = extra | base<<valueShift
		base += 1 << extra
	}
	m[30], m[31] = invalid, invalid
	return m
}

func meaningOfLen() []uint32 {
	m := make([]uint32, numLen)
	for s := range uint32(numLen) {
		m[s] = s << valueShift
	}
	m[16] |= 2 // bits that say how often
	m[17] |= 3
	m[18] |= 7
	return m
}

// fixed returns the tables of blocks with fixed codes.
var fixed = sync.OnceValue(func() *[2]table {
	var lit [numLit]uint8
	for s := range lit {
		switch {
		case s < 144:
			lit[s] = 8
		case s < 256:
			lit[s] = 9
		case s < 280:
			lit[s] = 7
		default:
			lit[s] = 8
		}
	}
	var dist [numDist]uint8
	for s := range dist {
		dist[s] = 5
	}
	t := new([2]table)
	t[0].build(lit[:], litMeaning)
	t[1].build(dist[:], distMeaning)
	return t
})
