// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"cmp"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/inflate"
)

// readLocals walks the local headers in the order they lie in and demands that
// they agree with the central directory and leave no gap.
func (a *archive) readLocals(d directory) error {
	order := make([]*member, len(a.members))
	for i := range a.members {
		order[i] = &a.members[i]
	}
	slices.SortFunc(order, func(x, y *member) int { return cmp.Compare(x.offset, y.offset) })
	at := int64(0)
	for i, m := range order {
		if m.offset != at {
			return invalid("%s: local header at %d, want %d: data before or between members", m.name, m.offset, at)
		}
		next := d.offset
		if i+1 < len(order) {
			next = order[i+1].offset
		}
		if err := a.readLocal(m, next); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		at = next
	}
	if at != d.offset {
		return invalid("%d bytes before the central directory belong to no member", d.offset-at)
	}
	return nil
}

// readLocal checks one local header, and that its member ends at next.
func (a *archive) readLocal(m *member, next int64) error {
	b, err := a.peek(m.offset, lenLocal)
	if err != nil {
		return err
	}
	if le.Uint32(b) != sigLocal {
		return invalid("no local header at %d", m.offset)
	}
	nameLen, extraLen := int64(le.Uint16(b[26:])), int64(le.Uint16(b[28:]))
	if b, err = a.peek(m.offset, lenLocal+nameLen+extraLen); err != nil {
		return err
	}
	rest := b[lenLocal:]
	name := m.name
	if m.dir {
		name += "/"
	}
	crc, packed, size := le.Uint32(b[14:]), int64(le.Uint32(b[18:])), int64(le.Uint32(b[22:]))
	if err := zip64(rest[nameLen:], &size, &packed); err != nil {
		return err
	}
	later := m.flags&flagDescriptor != 0 && crc == 0 && packed == 0 && size == 0
	if string(rest[:nameLen]) != name || le.Uint16(b[6:]) != m.flags || le.Uint16(b[8:]) != m.method || le.Uint32(b[10:]) != m.stamp ||
		!later && (crc != m.crc || packed != m.packed || size != m.size) {
		return invalid("the local header disagrees with the central directory")
	}
	m.data = m.offset + lenLocal + nameLen + extraLen
	gap := next - m.data - m.packed
	if m.flags&flagDescriptor == 0 {
		if gap != 0 {
			return invalid("%d bytes between its content and the next header", gap)
		}
		return nil
	}
	return a.readDescriptor(m, gap)
}

// readDescriptor checks the record after a content of n bytes: with or without
// a signature, with sizes of 4 or 8 bytes.
func (a *archive) readDescriptor(m *member, n int64) error {
	if n != 12 && n != 16 && n != 20 && n != 24 {
		return invalid("%d bytes between its content and the next header", n)
	}
	b, err := a.peek(m.data+m.packed, n)
	if err != nil {
		return err
	}
	if n == 16 || n == 24 {
		if le.Uint32(b) != sigDescriptor {
			return invalid("malformed data descriptor")
		}
		b = b[4:]
	}
	crc, b := le.Uint32(b), b[4:]
	packed, size := int64(le.Uint32(b)), int64(le.Uint32(b[len(b)/2:]))
	if len(b) == 16 {
		packed, size = int64(le.Uint64(b)), int64(le.Uint64(b[8:]))
	}
	if crc != m.crc || packed != m.packed || size != m.size {
		return invalid("the data descriptor disagrees with the central directory")
	}
	return nil
}

// open inflates a member. It ends with an error if the packed bytes go on after
// the end of the deflate stream; size and hash are checked by the caller, who
// closes it.
func (a *archive) open(m *member) io.ReadCloser {
	section := io.NewSectionReader(a.r, m.data, m.packed)
	if m.method == methodStore {
		return io.NopCloser(section)
	}
	z, ok := inflaters.Get().(*inflate.Reader)
	if !ok {
		z = new(inflate.Reader)
	}
	sum := crc32.NewIEEE()
	z.Reset(io.TeeReader(section, sum))
	return &inflating{z, section, sum}
}

// inflaters keeps decoders for the next member: there are tens of thousands.
var inflaters sync.Pool // of *inflate.Reader

// inflating is one member being read, with a decoder until it is closed.
type inflating struct {
	z      *inflate.Reader
	packed *io.SectionReader
	sum    hash.Hash32 // of what was read of packed
}

// Read implements io.Reader.
func (f *inflating) Read(p []byte) (int, error) {
	if f.z == nil {
		return 0, fs.ErrClosed
	}
	n, err := f.z.Read(p)
	if errors.Is(err, inflate.ErrCorrupt) || errors.Is(err, inflate.ErrTrailing) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: %w", err, bundle.ErrInvalid)
	}
	return n, err
}

// Close implements io.Closer.
func (f *inflating) Close() error {
	if f.z != nil {
		f.z.Reset(nil)
		inflaters.Put(f.z)
		f.z = nil
	}
	return nil
}
