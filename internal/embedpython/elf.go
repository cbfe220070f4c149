// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package embedpython

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/metalpack/metalpack/bundle"
)

// Offsets and sizes in a 64-bit ELF file (System V ABI, chapter 4).
const (
	elfHeaderSize = 64
	elfPhdrSize   = 56
	offPhoff      = 0x20
	offShoff      = 0x28
	offPhentsize  = 0x36
	offPhnum      = 0x38
	offShnum      = 0x3c
	offShstrndx   = 0x3e
	offPOffset    = 0x08 // in a program header
	offPFilesz    = 0x20
	maxPhdrs      = 64
)

// cutELF returns r without what follows the last byte of any program segment,
// and the size of that. Sections are for linkers and debuggers: the loader
// reads segments alone. The header then says that there are no sections, so
// that no reader looks for them behind the end.
func cutELF(r io.Reader) (io.Reader, int64, error) {
	b := bufio.NewReaderSize(r, elfHeaderSize+maxPhdrs*elfPhdrSize)
	head, err := b.Peek(elfHeaderSize)
	if err != nil {
		return nil, 0, fmt.Errorf("ELF header: %w", err)
	}
	le := binary.LittleEndian
	phnum := int(le.Uint16(head[offPhnum:]))
	if string(head[:4]) != elf.ELFMAG || elf.Class(head[elf.EI_CLASS]) != elf.ELFCLASS64 || elf.Data(head[elf.EI_DATA]) != elf.ELFDATA2LSB ||
		le.Uint64(head[offPhoff:]) != elfHeaderSize || le.Uint16(head[offPhentsize:]) != elfPhdrSize || phnum == 0 || phnum > maxPhdrs {
		return nil, 0, fmt.Errorf("not a little-endian ELF64 file with its program headers in front: %w", bundle.ErrInvalid)
	}
	if head, err = b.Peek(elfHeaderSize + phnum*elfPhdrSize); err != nil {
		return nil, 0, fmt.Errorf("ELF program headers: %w", err)
	}
	end := uint64(len(head))
	for i := range phnum {
		p := head[elfHeaderSize+i*elfPhdrSize:]
		end = max(end, le.Uint64(p[offPOffset:])+le.Uint64(p[offPFilesz:]))
	}
	if end > math.MaxInt32 { // a library of 2 GiB is not one we know
		return nil, 0, fmt.Errorf("ELF segments end at %d: %w", end, bundle.ErrInvalid)
	}
	patched := bytes.Clone(head[:elfHeaderSize])
	le.PutUint64(patched[offShoff:], 0)
	le.PutUint16(patched[offShnum:], 0)
	le.PutUint16(patched[offShstrndx:], 0)
	if _, err := b.Discard(elfHeaderSize); err != nil {
		return nil, 0, err
	}
	return io.LimitReader(io.MultiReader(bytes.NewReader(patched), b), int64(end)), int64(end), nil
}
