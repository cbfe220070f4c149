// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package macho

import (
	"cmp"
	"debug/macho"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// magicFat64 begins a fat file with 64-bit offsets.
const magicFat64 = macho.MagicFat + 1

// firstClass is the least major version of a Java class file, which lies where a
// fat file has the number of its slices.
const firstClass = 45

// archiveMagic begins a static archive.
const archiveMagic = "!<arch>\n"

// Bytes of fixed structures.
const (
	lenMagic     = 4
	lenFatHeader = 8
	lenFatArch   = 20
	lenFatArch64 = 32
	lenHeader32  = 28
	lenHeader64  = 32
)

// step is what a Checker gathers bytes for.
type step int

const (
	stepMagic step = iota
	stepFatHeader
	stepFatTable
	stepSlice
	stepHeader
	stepCommands
	stepSignature
	stepDone
)

// String says where a file ended too early.
func (s step) String() string {
	switch s {
	case stepFatHeader, stepFatTable:
		return "the fat table"
	case stepSlice, stepHeader:
		return "a header"
	case stepCommands:
		return "the load commands"
	case stepSignature:
		return "a signature"
	default:
		return "the magic"
	}
}

// Checker reads the Mach-O facts of one file off its bytes as they pass. The
// zero value is ready. It is for one file and one goroutine.
type Checker struct {
	n    int64  // bytes that passed
	step step   // what buf is gathered for
	at   int64  // where buf begins in the file
	need int    // bytes of buf that the step wants; 0 = lenMagic
	buf  []byte // those that are there

	file    File
	spans   []span // by offset; one without an end for a thin file
	slice   int    // of spans, in work
	order   binary.ByteOrder
	header  int    // bytes of the slice's header
	sigSize uint32 // bytes of the signature in work
	sigEnd  int64  // of a thin file: where its signature ends
}

// span is where a slice lies.
type span struct {
	offset, size uint64
	cpu          macho.Cpu // as the fat table says
	subtype      uint32
}

// Write implements io.Writer. It takes all of p and never fails.
func (c *Checker) Write(p []byte) (int, error) {
	taken := len(p)
	for c.step != stepDone {
		skip := int(min(int64(len(p)), max(c.at-c.n, 0)))
		more := min(len(p)-skip, max(c.need, lenMagic)-len(c.buf))
		c.buf = append(c.buf, p[skip:skip+more]...)
		c.n += int64(skip + more)
		p = p[skip+more:]
		if len(c.buf) < max(c.need, lenMagic) {
			return taken, nil
		}
		c.advance()
	}
	c.n += int64(len(p))
	return taken, nil
}

// File returns the facts, taking what passed so far as the whole file.
func (c *Checker) File() File {
	f := c.file
	f.Slices = slices.Clone(f.Slices)
	switch {
	case f.Malformed != "":
	case c.step <= stepFatHeader: // too short to be told from anything
		return File{}
	case !f.Fat && (c.step == stepSignature || c.sigEnd > c.n):
		f.Slices[0].Signature = SignatureOutside
	case c.step != stepDone:
		f.Malformed = fmt.Sprintf("the file ends inside %s", c.step)
	case f.Fat && c.spans[len(c.spans)-1].end() > uint64(c.n):
		f.Malformed = "a slice reaches beyond the end of the file"
	}
	return f
}

func (s span) end() uint64 { return s.offset + s.size }

// want asks for the bytes of the next step: need of them, from where buf begins.
func (c *Checker) want(s step, need int) { c.step, c.need = s, need }

// seek lets buf begin at an offset that has not passed yet.
func (c *Checker) seek(offset uint64, s step, need int) {
	c.buf, c.at = c.buf[:0], int64(offset)
	c.want(s, need)
}

// finish lets everything else pass.
func (c *Checker) finish() { c.step, c.buf = stepDone, nil }

func (c *Checker) fail(format string, args ...any) {
	c.file.Malformed = fmt.Sprintf(format, args...)
	c.finish()
}

// advance works on what was gathered for a step and asks for the next.
func (c *Checker) advance() {
	switch c.step {
	case stepMagic:
		c.magic()
	case stepFatHeader:
		c.fatHeader()
	case stepFatTable:
		c.fatTable()
	case stepSlice:
		c.sliceMagic()
	case stepHeader:
		c.readHeader()
	case stepCommands:
		c.commands()
	case stepSignature:
		c.signature()
	case stepDone:
	}
}

// magic tells files by their first bytes.
func (c *Checker) magic() {
	switch binary.BigEndian.Uint32(c.buf) {
	case macho.MagicFat, magicFat64:
		c.want(stepFatHeader, lenFatHeader)
		return
	}
	if !c.thin() {
		c.finish()
		return
	}
	c.spans = []span{{size: math.MaxInt64}}
	c.want(stepHeader, c.header)
}

// thin takes word size and byte order from the magic in buf.
func (c *Checker) thin() bool {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(c.buf) {
		case macho.Magic64:
			c.order, c.header = order, lenHeader64
			return true
		case macho.Magic32:
			c.order, c.header = order, lenHeader32
			return true
		}
	}
	return false
}

// fatHeader reads how many slices there are, or finds a Java class.
func (c *Checker) fatHeader() {
	count, entry := binary.BigEndian.Uint32(c.buf[4:]), lenFatArch64
	if binary.BigEndian.Uint32(c.buf) == macho.MagicFat {
		entry = lenFatArch
		if count >= firstClass {
			c.finish()
			return
		}
	}
	c.file.Fat = true
	if count == 0 || count > MaxSlices {
		c.fail("a fat file of %d slices, want 1 to %d", count, MaxSlices)
		return
	}
	c.want(stepFatTable, lenFatHeader+int(count)*entry)
}

// fatTable reads where the slices lie.
func (c *Checker) fatTable() {
	be := binary.BigEndian
	wide := be.Uint32(c.buf) == magicFat64
	entry := lenFatArch
	if wide {
		entry = lenFatArch64
	}
	for row := range slices.Chunk(c.buf[lenFatHeader:], entry) {
		s := span{cpu: macho.Cpu(be.Uint32(row)), subtype: be.Uint32(row[4:])}
		if wide {
			s.offset, s.size = be.Uint64(row[8:]), be.Uint64(row[16:])
		} else {
			s.offset, s.size = uint64(be.Uint32(row[8:])), uint64(be.Uint32(row[12:]))
		}
		c.spans = append(c.spans, s)
	}
	slices.SortStableFunc(c.spans, func(a, b span) int { return cmp.Compare(a.offset, b.offset) })
	last := uint64(len(c.buf))
	for _, s := range c.spans {
		switch {
		case s.offset < last:
			c.fail("the %s slice lies on the fat table or on another slice", cpuName(s.cpu, s.subtype))
			return
		case s.size > math.MaxInt64 || s.offset > math.MaxInt64-s.size:
			c.fail("the %s slice reaches beyond any file", cpuName(s.cpu, s.subtype))
			return
		}
		last = s.end()
	}
	c.begin(0)
}

// begin asks for the beginning of a slice, if there is another.
func (c *Checker) begin(i int) {
	if c.slice = i; i >= len(c.spans) {
		c.finish()
		return
	}
	if s := c.spans[i]; s.size < lenHeader32 {
		c.fail("the %s slice has %d bytes", cpuName(s.cpu, s.subtype), s.size)
		return
	}
	c.seek(c.spans[i].offset, stepSlice, len(archiveMagic))
}

// sliceMagic tells what a slice of a fat file is.
func (c *Checker) sliceMagic() {
	s := c.spans[c.slice]
	switch {
	case string(c.buf) == archiveMagic:
		c.file.Slices = append(c.file.Slices, Slice{Kind: KindArchive, CPU: cpuName(s.cpu, s.subtype)})
		c.begin(c.slice + 1)
	case c.thin():
		c.want(stepHeader, c.header)
	default:
		c.fail("the %s slice is not Mach-O", cpuName(s.cpu, s.subtype))
	}
}

// readHeader reads what a slice is and how long its load commands are.
func (c *Checker) readHeader() {
	u32 := func(at int) uint32 { return c.order.Uint32(c.buf[at:]) }
	s, cpu := c.spans[c.slice], macho.Cpu(u32(4))
	c.file.Slices = append(c.file.Slices, Slice{Kind: kindOf(macho.Type(u32(12))), CPU: cpuName(cpu, u32(8))})
	switch size := u32(20); {
	case c.file.Fat && cpu != s.cpu:
		c.fail("the fat table calls a slice %s, its header %s", cpuName(s.cpu, s.subtype), cpuName(cpu, u32(8)))
	case size > MaxCommands:
		c.fail("%d bytes of load commands, more than %d", size, MaxCommands)
	case uint64(c.header)+uint64(size) > s.size:
		c.fail("the load commands reach beyond the %s slice", cpuName(cpu, u32(8)))
	default:
		c.want(stepCommands, c.header+int(size))
	}
}

// commands reads the load commands and looks for the signature they name.
func (c *Checker) commands() {
	slice := &c.file.Slices[len(c.file.Slices)-1]
	sig, err := readCommands(slice, c.order, c.buf[c.header:], c.order.Uint32(c.buf[16:]))
	if err != nil {
		c.fail("%s: %v", slice.CPU, err)
		return
	}
	s, end := c.spans[c.slice], uint64(sig.offset)+uint64(sig.size)
	switch {
	case !sig.there:
	case sig.size == 0:
		slice.Signature = SignatureEmpty
	case int64(sig.offset) < int64(len(c.buf)) || end > s.size:
		slice.Signature = SignatureOutside
	case sig.size < lenSignature:
		slice.Signature = SignatureDamaged
	default:
		if !c.file.Fat {
			c.sigEnd = int64(end)
		}
		slice.Signature = SignatureDamaged // until its bytes say otherwise
		c.sigSize = sig.size
		c.seek(s.offset+uint64(sig.offset), stepSignature, lenSignature)
		return
	}
	c.begin(c.slice + 1)
}

// signature looks at the first bytes of a signature: what it is and how long.
func (c *Checker) signature() {
	be := binary.BigEndian // whatever the order of the file
	magic, length := be.Uint32(c.buf), be.Uint32(c.buf[4:])
	if (magic == magicSuperBlob || magic == magicDirectory) && length >= lenSignature && length <= c.sigSize {
		c.file.Slices[len(c.file.Slices)-1].Signature = SignaturePresent
	}
	c.begin(c.slice + 1)
}
