// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/metalpack/metalpack/bundle"
)

// Caps on one wheel. A deflate stream cannot exceed 1032:1, and real members of
// more than [ratioFrom] bytes stay far below [MaxRatio].
const (
	MaxMembers   = 100_000
	MaxDirectory = 32 << 20 // bytes of the central directory
	MaxMember    = 8 << 30  // bytes of one file, inflated
	MaxTotal     = 32 << 30 // bytes of all files, inflated
	MaxRatio     = 500
	MaxWhole     = 50 // the same for a wheel of more than wholeFrom bytes; real ones reach 9
	ratioFrom    = 1 << 20
	wholeFrom    = 256 << 20
)

// Records of a ZIP file (APPNOTE.TXT section 4.3).
const (
	sigLocal      = 0x04034b50
	sigCentral    = 0x02014b50
	sigEnd        = 0x06054b50
	sigDescriptor = 0x08074b50
	sigEnd64      = 0x06064b50
	sigLocator64  = 0x07064b50

	lenLocal     = 30
	lenCentral   = 46
	lenEnd       = 22
	lenEnd64     = 56
	lenLocator64 = 20
)

const (
	flagEncrypted  = 1 << 0
	flagDescriptor = 1 << 3
	flagUTF8       = 1 << 11
	flagsKnown     = flagDescriptor | flagUTF8 | 1<<1 | 1<<2 // 1, 2: how hard deflate tried

	methodStore   = 0
	methodDeflate = 8

	extraZip64       = 0x0001
	extraUnicodePath = 0x7075
	extraAES         = 0x9901
	most32           = 1<<32 - 1
)

// member is one entry of the archive, as both of its headers describe it.
type member struct {
	name     string // without a directory's trailing slash
	dir      bool
	exec     bool
	flags    uint16
	method   uint16
	stamp    uint32 // DOS time and date
	crc      uint32
	packed   int64
	size     int64
	offset   int64 // of the local header
	data     int64 // of the content
	external uint32
	sum      string // sha256, hex; "" as long as RECORD has not been read, and of a signature of it
}

// archive is a ZIP file whose every byte is accounted for.
type archive struct {
	r       io.ReaderAt
	size    int64
	members []member
	byName  map[string]int // of members; nil when the wheel is open

	window   []byte // bytes from windowAt on, while headers are read
	windowAt int64
}

var le = binary.LittleEndian

// readArchive reads the central directory and every local header. archive/zip
// reads the first alone, lists duplicates and skips what it does not know;
// another reader may then see another wheel in the same bytes. Errors wrap
// [bundle.ErrInvalid], or are those of r.
func readArchive(r io.ReaderAt, size int64, budget *Budget) (*archive, error) {
	a := &archive{r: r, size: size}
	end, err := a.readEnd()
	if err != nil {
		return nil, err
	}
	if err := budget.spend(end.count, end.size); err != nil {
		return nil, fmt.Errorf("central directory: %w", err)
	}
	if err := a.readCentral(end); err != nil {
		return nil, err
	}
	err = a.readLocals(end)
	a.window = nil
	return a, err
}

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, bundle.ErrInvalid)...)
}

// bytesAt reads n bytes at off.
func (a *archive) bytesAt(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > a.size-n {
		return nil, invalid("the archive ends before offset %d", off+n)
	}
	b := make([]byte, n)
	if k, err := a.r.ReadAt(b, off); k < len(b) {
		if errors.Is(err, io.EOF) {
			return nil, invalid("the archive is shorter than %d bytes", a.size)
		}
		return nil, err
	}
	return b, nil
}

// headerWindow is what is read at once of local headers and descriptors. Most
// members are small, so that the end of one and the head of the next come
// together.
const headerWindow = 4 << 10

// peek returns n bytes at off, which are valid until the next call.
func (a *archive) peek(off, n int64) ([]byte, error) {
	if at := off - a.windowAt; at >= 0 && at+n <= int64(len(a.window)) {
		return a.window[at : at+n], nil
	}
	if off < 0 || off > a.size-n {
		return a.bytesAt(off, n) // says why not
	}
	want := min(max(n, headerWindow), a.size-off)
	if int64(cap(a.window)) < want {
		a.window = make([]byte, want)
	}
	a.window, a.windowAt = a.window[:want], off
	k, err := a.r.ReadAt(a.window, off)
	a.window = a.window[:k]
	switch {
	case int64(k) >= n:
		return a.window[:n], nil
	case errors.Is(err, io.EOF):
		return nil, invalid("the archive is shorter than %d bytes", a.size)
	}
	return nil, err
}

// directory says where the central directory lies.
type directory struct{ offset, size, count int64 }

// readEnd reads the end record, which must be the last bytes of the file: a
// comment could hold a second archive.
func (a *archive) readEnd() (d directory, err error) {
	b, err := a.bytesAt(a.size-lenEnd, lenEnd)
	if err != nil {
		return d, err
	}
	if le.Uint32(b) != sigEnd || le.Uint16(b[20:]) != 0 {
		return d, invalid("no ZIP end record in the last %d bytes: trailing data, a comment, or not a ZIP file", lenEnd)
	}
	disk, startDisk, here, count := le.Uint16(b[4:]), le.Uint16(b[6:]), le.Uint16(b[8:]), le.Uint16(b[10:])
	d = directory{offset: int64(le.Uint32(b[16:])), size: int64(le.Uint32(b[12:])), count: int64(count)}
	tail := a.size - lenEnd
	if tail >= lenLocator64 {
		loc, err := a.bytesAt(tail-lenLocator64, lenLocator64)
		if err != nil {
			return d, err
		}
		if le.Uint32(loc) == sigLocator64 {
			return a.readEnd64(loc, tail-lenLocator64, d)
		}
	}
	if disk != 0 || startDisk != 0 || here != count {
		return d, invalid("the ZIP archive is split over disks")
	}
	return d, checkDirectory(d, tail)
}

// readEnd64 reads the ZIP64 end record that the locator at tail names.
func (a *archive) readEnd64(loc []byte, tail int64, small directory) (d directory, err error) {
	at := tail - lenEnd64
	if le.Uint32(loc[4:]) != 0 || le.Uint32(loc[16:]) != 1 || le.Uint64(loc[8:]) != uint64(max(at, 0)) {
		return d, invalid("the ZIP64 locator does not point to the record before it")
	}
	b, err := a.bytesAt(at, lenEnd64)
	if err != nil {
		return d, err
	}
	if le.Uint32(b) != sigEnd64 || le.Uint64(b[4:]) != lenEnd64-12 || le.Uint32(b[16:]) != 0 || le.Uint32(b[20:]) != 0 || le.Uint64(b[24:]) != le.Uint64(b[32:]) {
		return d, invalid("the ZIP64 end record is malformed")
	}
	if le.Uint64(b[32:]) > MaxMembers || le.Uint64(b[40:]) > MaxDirectory || le.Uint64(b[48:]) > uint64(a.size) {
		return d, invalid("the ZIP64 end record names more than there can be")
	}
	d = directory{offset: int64(le.Uint64(b[48:])), size: int64(le.Uint64(b[40:])), count: int64(le.Uint64(b[32:]))}
	agrees := func(small, big, most int64) bool { return small == big || small == most }
	if !agrees(small.offset, d.offset, most32) || !agrees(small.size, d.size, most32) || !agrees(small.count, d.count, 0xffff) {
		return d, invalid("the two ZIP end records disagree")
	}
	return d, checkDirectory(d, at)
}

func checkDirectory(d directory, end int64) error {
	switch {
	case d.count > MaxMembers:
		return invalid("%d members, more than %d", d.count, MaxMembers)
	case d.size > MaxDirectory:
		return invalid("central directory of %d bytes, more than %d", d.size, MaxDirectory)
	case d.offset+d.size != end:
		return invalid("the central directory does not end where the end record begins: data before, between or after")
	}
	return nil
}

func (a *archive) readCentral(d directory) error {
	b, err := a.bytesAt(d.offset, d.size)
	if err != nil {
		return err
	}
	a.members = make([]member, 0, min(d.count, int64(len(b))/lenCentral))
	a.byName = make(map[string]int, cap(a.members))
	var total int64
	for len(b) > 0 {
		m, n, err := parseCentral(b)
		if err != nil {
			return err
		}
		b = b[n:]
		if _, twice := a.byName[m.name]; twice {
			return invalid("%s: member appears twice", m.name)
		}
		a.byName[m.name] = len(a.members)
		if total += m.size; total > MaxTotal || total > ratioFrom && total/MaxRatio > a.size {
			return invalid("more than %d bytes inflated, or more than %d times its size", int64(MaxTotal), MaxRatio)
		}
		if total > wholeFrom && total/MaxWhole > a.size {
			return invalid("more than %d bytes inflated, and more than %d times its size", int64(wholeFrom), MaxWhole)
		}
		a.members = append(a.members, m)
	}
	if int64(len(a.members)) != d.count {
		return invalid("%d members in the central directory, the end record says %d", len(a.members), d.count)
	}
	return nil
}

// parseCentral parses the first central header in b and returns its length.
func parseCentral(b []byte) (m member, n int, err error) {
	if len(b) < lenCentral || le.Uint32(b) != sigCentral {
		return m, 0, invalid("the central directory is malformed")
	}
	nameLen, extraLen, commentLen := int(le.Uint16(b[28:])), int(le.Uint16(b[30:])), int(le.Uint16(b[32:]))
	n = lenCentral + nameLen + extraLen
	if n > len(b) {
		return m, 0, invalid("the central directory is cut")
	}
	raw := string(b[lenCentral : lenCentral+nameLen])
	m = member{
		flags: le.Uint16(b[8:]), method: le.Uint16(b[10:]), stamp: le.Uint32(b[12:]), crc: le.Uint32(b[16:]),
		packed: int64(le.Uint32(b[20:])), size: int64(le.Uint32(b[24:])), offset: int64(le.Uint32(b[42:])), external: le.Uint32(b[38:]),
	}
	m.name, m.dir = strings.CutSuffix(raw, "/")
	if commentLen != 0 || le.Uint16(b[34:]) != 0 {
		return m, 0, invalid("%q: member has a comment or lies on another disk", raw)
	}
	if err := zip64(b[lenCentral+nameLen:n], &m.size, &m.packed, &m.offset); err != nil {
		return m, 0, fmt.Errorf("%q: %w", raw, err)
	}
	if err := m.check(); err != nil {
		return m, 0, fmt.Errorf("%q: %w", raw, err)
	}
	return m, n, nil
}

// check looks at what one header says alone.
func (m *member) check() error {
	if err := bundle.CheckPath(m.name); err != nil {
		return err
	}
	mode := m.external >> 16
	kind := mode & 0o170000
	m.exec = kind == 0o100000 && fs.FileMode(mode)&0o111 != 0
	switch {
	case m.flags&flagEncrypted != 0 || m.flags&^flagsKnown != 0:
		return invalid("encrypted, or of unknown flags %#x", m.flags)
	case m.flags&flagUTF8 == 0 && strings.ContainsFunc(m.name, func(r rune) bool { return r >= utf8.RuneSelf }):
		return invalid("a name that is not ASCII and not marked as UTF-8")
	case m.method != methodStore && m.method != methodDeflate:
		return invalid("compression method %d", m.method)
	case m.method == methodStore && m.packed != m.size:
		return invalid("stored, but %d and %d bytes long", m.packed, m.size)
	case kind != 0 && kind != 0o100000 && (kind != 0o040000 || !m.dir):
		return invalid("mode %o: not a regular file", mode)
	case m.dir && (m.size != 0 || m.packed > 2): // 2: an empty deflate stream
		return invalid("a directory with content")
	case m.size < 0 || m.packed < 0 || m.offset < 0 || m.size > MaxMember:
		return invalid("%d bytes, more than %d", m.size, int64(MaxMember))
	case m.size > ratioFrom && m.size/MaxRatio > m.packed:
		return invalid("inflates more than %d times", MaxRatio)
	}
	return nil
}

// zip64 walks extra fields and replaces the values that were too large for
// their 32-bit field, in the order of the record.
func zip64(extra []byte, values ...*int64) error {
	seen := false
	for len(extra) > 0 {
		if len(extra) < 4 || int(le.Uint16(extra[2:])) > len(extra)-4 {
			return invalid("extra field is cut")
		}
		id, field := le.Uint16(extra), extra[4:4+le.Uint16(extra[2:])]
		extra = extra[4+len(field):]
		switch id {
		case extraUnicodePath, extraAES:
			return invalid("extra field %#x: a second name, or encryption", id)
		case extraZip64:
			if seen {
				return invalid("two ZIP64 fields")
			}
			seen = true
			for _, v := range values {
				if *v != most32 {
					continue
				}
				if len(field) < 8 {
					return invalid("ZIP64 field is cut")
				}
				*v, field = int64(le.Uint64(field)), field[8:]
			}
		}
	}
	return nil
}
