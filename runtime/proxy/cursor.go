// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// cursor walks JSON that is known to be valid, without a copy of any of it.
type cursor struct {
	data []byte
	at   int
}

// peek skips blanks and returns the byte behind them.
func (c *cursor) peek() byte {
	for {
		switch b := c.data[c.at]; b {
		case ' ', '\t', '\r', '\n':
			c.at++
		default:
			return b
		}
	}
}

// text moves past a string and returns it with its quotes.
func (c *cursor) text() []byte {
	c.peek()
	begin := c.at
	for c.at++; ; c.at++ {
		n := bytes.IndexAny(c.data[c.at:], `"\`)
		if c.at += n; c.data[c.at] == '"' {
			c.at++
			return c.data[begin:c.at]
		}
		c.at++ // what is escaped
	}
}

// skip moves past a value.
func (c *cursor) skip() {
	for depth := 0; ; {
		switch c.peek() {
		case '"':
			c.text()
		case '{', '[':
			depth++
			c.at++
		case '}', ']':
			depth--
			c.at++
		case ',', ':':
			c.at++
		default:
			c.word()
		}
		if depth == 0 {
			return
		}
	}
}

// word moves past a number, true, false or null.
func (c *cursor) word() {
	for ; c.at < len(c.data); c.at++ {
		switch c.data[c.at] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return
		}
	}
}

// members calls member for each of an object's, with its key, the offset at
// which the key begins and the cursor at its value, past which member moves.
func (c *cursor) members(member func(key []byte, from int) error) error {
	c.peek()
	c.at++
	for c.peek() != '}' {
		from := c.at
		key, err := keyOf(c.text())
		if err != nil {
			return err
		}
		c.peek()
		c.at++ // the colon
		c.peek()
		if err := member(key, from); err != nil {
			return err
		}
		if c.peek() == ',' {
			c.at++
		}
	}
	c.at++
	return nil
}

// elements calls element with the cursor at each of a list's.
func (c *cursor) elements(element func() error) error {
	c.peek()
	c.at++
	for c.peek() != ']' {
		if err := element(); err != nil {
			return err
		}
		if c.peek() == ',' {
			c.at++
		}
	}
	c.at++
	return nil
}

// keyOf decodes a key. Nearly all are as they stand, and cost nothing.
func keyOf(raw []byte) ([]byte, error) {
	if len(raw) > maxKey {
		return nil, fmt.Errorf("a key has more than %d bytes", maxKey)
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	var key string
	err := json.Unmarshal(raw, &key)
	return []byte(key), err
}
