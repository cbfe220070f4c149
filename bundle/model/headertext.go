// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"io"
	"slices"
	"unicode/utf8"
)

// headerText is the JSON of a safetensors header on its way to the decoder,
// which would replace bad UTF-8, take spaces before the object, and hold a
// string of any length.
type headerText struct {
	r    io.Reader // ends after size bytes
	size int64
	at   int64 // bytes that came
	err  error // what made Read fail, but for the end
	bad  int64 // where that was, or close behind it

	rune    []byte // the beginning of one
	string  int    // bytes of the string so far, its quotation mark included; 0 = outside of one
	escaped bool   // the next byte belongs to a backslash
}

// Read implements io.Reader.
func (t *headerText) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.bad = t.at
	if bad := t.check(p[:n]); bad != nil {
		t.err = bad
		return 0, bad
	}
	t.bad = t.at
	if errors.Is(err, io.EOF) && t.at < t.size {
		err = invalid("ends after %d of %d bytes", t.at, t.size)
	} else if errors.Is(err, io.EOF) && len(t.rune) > 0 {
		err = invalid("not UTF-8")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		t.err = err
	}
	return n, err
}

func (t *headerText) check(p []byte) error {
	if t.at == 0 && len(p) > 0 && p[0] != '{' {
		return invalid("offset 8: does not begin with '{'")
	}
	t.at += int64(len(p))
	for i, c := range p {
		switch {
		case t.escaped:
			t.escaped = false
		case t.string > 0 && c == '\\':
			t.escaped = true
		case t.string > 0 && c == '"':
			t.string = 0
			continue
		}
		if t.string > 0 || c == '"' {
			t.string++
		}
		if t.string > maxString {
			t.bad += int64(i)
			return invalid("a string of more than %d bytes", maxString)
		}
	}
	return t.checkRunes(p)
}

// checkRunes keeps a rune that p only begins for the next call.
func (t *headerText) checkRunes(p []byte) error {
	if len(t.rune) == 0 && utf8.Valid(p) {
		return nil
	}
	p = append(t.rune, p...)
	t.rune = nil
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			if utf8.FullRune(p) {
				t.bad = t.at - int64(len(p))
				return invalid("not UTF-8")
			}
			t.rune = slices.Clone(p)
			return nil
		}
		p = p[n:]
	}
	return nil
}

// onlySpaces reads what follows the object, which ends at byte end of the text.
func onlySpaces(r io.Reader, end int64) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		for i, c := range buf[:n] {
			if c != ' ' {
				return invalid("offset %d: bytes after the header's end", 8+end+int64(i))
			}
		}
		end += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
