// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"

	"github.com/metalpack/metalpack/builder/wheel"
)

// joiner is a gzip compressor that takes the deflate streams of wheels as they
// are. Blocks of several streams may follow each other in one, as long as none
// but the last says that it is the last, because a match never reaches back
// before the stream that it came in. What lies between them (headers, padding,
// files that the builder writes) is compressed here, in pieces that begin with
// an empty window and end on a whole byte.
type joiner struct {
	w    io.Writer
	err  error
	crc  hash.Hash32
	size int64 // of all that was written

	foreign bool          // what is written comes as a stream of its own
	before  int64         // size when that began
	piece   []byte        // not compressed yet
	stream  *flate.Writer // of a piece that became long
	long    bool          // the piece is going through stream
	buf     []byte
}

// maxPiece is from when on a piece is worth a compressor with a memory, in
// bytes.
const maxPiece = 32 << 10

// Parts of gzip and deflate streams.
var (
	gzipHeader  = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff} // no name, no time, no system
	emptyStored = []byte{0, 0, 0xff, 0xff}                      // after three zero bits, up to a whole byte
	lastEmpty   = []byte{1, 0, 0, 0xff, 0xff}
)

var errJoined = errors.New("a file whose stream was to be joined was not read to its end")

// newJoiner returns one whose own compression is as gzip's at level 6.
func newJoiner() (encoder, error) {
	z, err := flate.NewWriter(nil, defaultGzip)
	return &joiner{stream: z, crc: crc32.NewIEEE(), buf: make([]byte, maxPiece)}, err
}

// Reset implements encoder.
func (j *joiner) Reset(w io.Writer) {
	*j = joiner{w: w, crc: j.crc, piece: j.piece[:0], stream: j.stream, buf: j.buf}
	j.crc.Reset()
	j.emit(gzipHeader)
}

// Write implements io.Writer.
func (j *joiner) Write(p []byte) (int, error) {
	_, _ = j.crc.Write(p) // a hash takes all
	j.size += int64(len(p))
	switch {
	case j.err != nil:
		return 0, j.err
	case j.foreign:
		return len(p), nil
	case !j.long && len(j.piece)+len(p) > maxPiece:
		j.stream.Reset(j.w)
		j.long = true
		_, j.err = j.stream.Write(j.piece)
	}
	if !j.long {
		j.piece = append(j.piece, p...)
	} else if j.err == nil {
		_, j.err = j.stream.Write(p)
	}
	return len(p), j.err
}

// emit writes compressed bytes.
func (j *joiner) emit(p []byte) {
	if j.err == nil {
		_, j.err = j.w.Write(p)
	}
}

// endPiece compresses what came since the last stream.
func (j *joiner) endPiece() {
	switch {
	case j.err != nil:
	case j.long:
		j.err = j.stream.Flush()
	case len(j.piece) > 0:
		j.err = flate.StatelessDeflate(j.w, j.piece, false, nil)
	}
	j.piece, j.long = j.piece[:0], false
}

// Close implements io.Closer.
func (j *joiner) Close() error {
	j.endPiece()
	j.emit(lastEmpty)
	j.emit(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, j.crc.Sum32()), uint32(j.size))) // modulo 2^32, RFC 1952 section 2.3.1
	return j.err
}

// join lets a content, until it is closed, come as the stream that the wheel has
// of it, if there is one. content is file, on its way to the tar.
func (j *joiner) join(file, content io.ReadCloser) io.ReadCloser {
	d, ok := file.(wheel.Deflated)
	if !ok {
		return content
	}
	if stream, _, _, _ := d.Deflated(); stream == nil {
		return content
	}
	j.endPiece()
	j.foreign, j.before = true, j.size
	return &joining{content, d, j}
}

// joining is a content on its way past a joiner.
type joining struct {
	io.ReadCloser
	from wheel.Deflated
	to   *joiner
}

// Close implements io.Closer.
func (c *joining) Close() error {
	stream, lastBlock, end, whole := c.from.Deflated()
	err := c.ReadCloser.Close()
	j := c.to
	j.foreign = false
	switch {
	case j.err != nil || err != nil || whole && j.size == j.before:
	case whole:
		j.err = j.copyBlocks(stream, lastBlock, end)
	default:
		j.err = errJoined
	}
	return err
}

// copyBlocks writes a stream as blocks that are not the last, and brings them to
// a whole byte with an empty one.
func (j *joiner) copyBlocks(stream io.Reader, lastBlock, end int64) error {
	size := (end + 7) / 8
	for at := int64(0); at < size; {
		b := j.buf[:min(int64(len(j.buf)), size-at)]
		if _, err := io.ReadFull(stream, b); err != nil {
			return err
		}
		if i := lastBlock/8 - at; i >= 0 && i < int64(len(b)) {
			b[i] &^= 1 << (lastBlock % 8)
		}
		if at += int64(len(b)); at == size && end%8 != 0 {
			b[len(b)-1] &= 1<<(end%8) - 1
		}
		j.emit(b)
	}
	if _, err := io.ReadFull(stream, j.buf[:1]); !errors.Is(err, io.EOF) { // with which it says that it was the same
		return cmp.Or(err, errJoined)
	}
	if end%8 == 0 || end%8 > 5 { // no room for three bits
		j.emit([]byte{0})
	}
	j.emit(emptyStored)
	return j.err
}
