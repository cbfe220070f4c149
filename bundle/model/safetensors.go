// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// Caps on a safetensors header. The first is the format's own.
const (
	MaxHeader  = 100_000_000 // bytes
	MaxTensors = 1 << 17
	maxRank    = 16
	maxName    = 256     // bytes of the name of a tensor, or of a key of __metadata__
	maxString  = 4 << 20 // bytes of one name or value; the decoder holds it several times
	maxNotes   = 1 << 12 // keys of __metadata__
)

// dtypeBits is the width of one element of each dtype.
var dtypeBits = map[string]uint64{
	"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
	"U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
	"C64": 64, "F64": 64, "I64": 64, "U64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}

// Tensor is one entry of a safetensors header.
type Tensor struct {
	Name       string
	DType      string
	Shape      []uint64
	Begin, End uint64 // bytes, relative to the data
}

// Elements is the product of the shape; 1 for a scalar. [ReadHeader] has
// checked that it does not overflow.
func (t Tensor) Elements() uint64 {
	n := uint64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Header is what a safetensors file says about itself.
type Header struct {
	Tensors  []Tensor          // sorted by where their data begins
	Metadata map[string]string // __metadata__: the first 64 keys in the order of their bytes, none over 1 KiB with its value
}

// ReadHeader reads the header of a safetensors file of the given size, and no
// byte of its data. The length is checked before anything is read, and of the
// text only names and numbers are kept; keys are unique, every shape agrees
// with its offsets, and the offsets tile the data without gap or overlap up to
// the file's end. Errors wrap [bundle.ErrInvalid], but for those of r.
func ReadHeader(r io.Reader, size int64) (*Header, error) {
	return readHeader(r, size, func() error { return nil })
}

// readHeader is ReadHeader that asks before every tensor whether it may go on.
func readHeader(r io.Reader, size int64, more func() error) (*Header, error) {
	n, err := headerLength(r, size)
	if err != nil {
		return nil, fmt.Errorf("safetensors header: %w", err)
	}
	text := &headerText{r: io.LimitReader(r, n), size: n}
	h, at, err := parseHeader(text, more)
	if text.err != nil { // the parser's is what came of it
		at, err = text.bad, text.err
	}
	if errors.Is(err, bundle.ErrInvalid) && !strings.Contains(err.Error(), "offset ") {
		err = invalid("%s at byte %d", strings.TrimSuffix(err.Error(), ": "+bundle.ErrInvalid.Error()), 8+at)
	}
	if err != nil {
		return nil, fmt.Errorf("safetensors header: %w", err)
	}
	return h, h.checkTiling(uint64(size - 8 - n))
}

// headerLength reads and judges the length of the header, in bytes.
func headerLength(r io.Reader, size int64) (int64, error) {
	if size < 10 {
		return 0, invalid("the file has %d bytes", size)
	}
	var prefix [8]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = invalid("%v", err)
		}
		return 0, err
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	switch {
	case n > MaxHeader && isASCII(prefix[:]):
		return 0, invalid("begins with the text %q, where its length should be", prefix[:])
	case n < 2:
		return 0, invalid("declares %d bytes", n)
	case n > MaxHeader:
		return 0, invalid("declares %d bytes, more than %d", n, MaxHeader)
	case n > uint64(size-8):
		return 0, invalid("declares %d bytes, the file has %d", n, size)
	}
	return int64(n), nil
}

// isASCII reports whether bytes are printable text.
func isASCII(p []byte) bool {
	return !slices.ContainsFunc(p, func(c byte) bool { return c < ' ' || c > '~' })
}

// parseHeader walks the tokens itself: the decoder of encoding/json would let
// the last of two equal keys win and ignore their case. at is how far it came.
func parseHeader(text io.Reader, more func() error) (_ *Header, at int64, _ error) {
	dec := json.NewDecoder(text)
	dec.UseNumber()
	h := &Header{}
	seen := map[string]bool{}
	err := walkObject(dec, func(key string) error {
		if seen[key] {
			return invalid("tensor %q appears twice", clip(key))
		}
		seen[key] = true
		if key == "__metadata__" {
			return h.readMetadata(dec)
		}
		if len(key) > maxName {
			return invalid("tensor %q: a name of %d bytes, more than %d", clip(key), len(key), maxName)
		}
		if len(h.Tensors) == MaxTensors {
			return invalid("more than %d tensors", MaxTensors)
		}
		if err := more(); err != nil {
			return err
		}
		t, err := readTensor(dec, key)
		h.Tensors = append(h.Tensors, t)
		return err
	})
	end := dec.InputOffset()
	if err == nil {
		err = onlySpaces(io.MultiReader(dec.Buffered(), text), end)
	}
	if err != nil && !errors.Is(err, bundle.ErrInvalid) {
		err = fmt.Errorf("offset %d: %w: %w", 8+end, err, bundle.ErrInvalid)
	}
	return h, end, err
}

func (h *Header) readMetadata(dec *json.Decoder) error {
	h.Metadata = map[string]string{}
	seen := map[string]bool{}
	err := walkObject(dec, func(key string) error {
		if len(key) > maxName || len(seen) == maxNotes {
			return invalid("__metadata__: %q: want at most %d keys of at most %d bytes", clip(key), maxNotes, maxName)
		}
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		value, ok := tok.(string)
		if !ok || seen[key] {
			return invalid("__metadata__: %q: want one string", clip(key))
		}
		if seen[key] = true; len(key)+len(value) <= maxHeaderValue {
			h.Metadata[key] = value
		}
		return nil
	})
	keys := sortedKeys(h.Metadata)
	for _, key := range keys[min(maxHeaderKeys, len(keys)):] {
		delete(h.Metadata, key)
	}
	return err
}

func readTensor(dec *json.Decoder, name string) (Tensor, error) {
	t := Tensor{Name: name}
	var offsets []uint64
	seen := map[string]bool{}
	err := walkObject(dec, func(key string) (err error) {
		if seen[key] {
			return invalid("tensor %q: %q twice", clip(name), clip(key))
		}
		seen[key] = true
		switch key {
		case "dtype":
			tok, err := dec.Token()
			if err != nil {
				return err
			}
			t.DType, _ = tok.(string)
			return nil
		case "shape":
			t.Shape, err = readNumbers(dec, maxRank)
			return err
		case "data_offsets":
			offsets, err = readNumbers(dec, 2)
			return err
		}
		return invalid("tensor %q: unknown key %q", clip(name), clip(key))
	})
	if err != nil {
		return t, err
	}
	if len(offsets) != 2 || !seen["shape"] {
		return t, invalid("tensor %q: want dtype, shape and two data_offsets", clip(name))
	}
	t.Begin, t.End = offsets[0], offsets[1]
	return t, t.check()
}

// check compares the shape with the offsets, without overflow.
func (t Tensor) check() error {
	width, ok := dtypeBits[t.DType]
	if !ok {
		return invalid("tensor %q: dtype %q is none of safetensors", clip(t.Name), clip(t.DType))
	}
	total := width
	for _, d := range t.Shape {
		hi, lo := bits.Mul64(total, d)
		// An empty tensor may have any other dimension, but no reader
		// should have to multiply dimensions that overflow.
		if hi != 0 {
			return invalid("tensor %q: shape %v overflows", clip(t.Name), t.Shape)
		}
		total = lo
	}
	if t.End < t.Begin || total%8 != 0 || total/8 != t.End-t.Begin {
		return invalid("tensor %q: %s%v does not fill offsets [%d, %d)", clip(t.Name), t.DType, t.Shape, t.Begin, t.End)
	}
	return nil
}

// checkTiling sorts the tensors and checks that they cover the data exactly.
func (h *Header) checkTiling(size uint64) error {
	sort.Slice(h.Tensors, func(i, j int) bool {
		a, b := &h.Tensors[i], &h.Tensors[j]
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.End, b.End), cmp.Compare(a.Name, b.Name)) < 0
	})
	at := uint64(0)
	for _, t := range h.Tensors {
		if t.Begin != at {
			return invalid("safetensors: tensor %q begins at %d, the one before ends at %d", clip(t.Name), t.Begin, at)
		}
		at = t.End
	}
	if at != size {
		return invalid("safetensors: tensors end at %d, the data at %d", at, size)
	}
	return nil
}

// walkObject reads one object and calls f at each value.
func walkObject(dec *json.Decoder, f func(key string) error) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	if tok != json.Delim('{') {
		return invalid("offset %d: want an object", 8+dec.InputOffset())
	}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		key, _ := tok.(string) // the decoder allows nothing else here
		if err := f(key); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// readNumbers reads an array of at most limit natural numbers.
func readNumbers(dec *json.Decoder, limit int) ([]uint64, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if tok != json.Delim('[') {
		return nil, invalid("offset %d: want an array", 8+dec.InputOffset())
	}
	var out []uint64
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		num, _ := tok.(json.Number)
		n, err := strconv.ParseUint(num.String(), 10, 63)
		if err != nil || len(out) == limit {
			return nil, invalid("offset %d: want at most %d natural numbers", 8+dec.InputOffset(), limit)
		}
		out = append(out, n)
	}
	_, err = dec.Token()
	return out, err
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), bundle.ErrInvalid)
}

// clip shortens a string that a file chose, for an error message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
