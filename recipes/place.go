// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/metalpack/metalpack/bundle"
)

// Error is what is wrong at one place of a recipe: it does not decode, or it
// breaks a rule. The place is that in the file where the value stands, which
// may be one that is extended; for a field that is missing it is what should
// hold it.
type Error struct {
	File    string // "" = the recipe was not read from a file
	Line    int    // from 1; 0 = unknown
	Column  int    // from 1, in characters
	Field   string // path: targets[0].glibc; "" = it does not decode
	Message string
	Excerpt string // the line
	Err     error  // nil = [bundle.ErrInvalid]
}

// Error gives place, field and message, then the line with a caret.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
		}
		b.WriteString(": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Message)
	if e.Excerpt != "" {
		line, column := window(e.Excerpt, e.Column)
		fmt.Fprintf(&b, "\n  %s\n  %s^", line, indent(line, column))
	}
	return b.String()
}

// Unwrap returns Err, else [bundle.ErrInvalid].
func (e *Error) Unwrap() error {
	if e.Err == nil {
		return bundle.ErrInvalid
	}
	return e.Err
}

// maxExcerpt is what fits on a line of a terminal, in characters.
const maxExcerpt = 100

// window cuts a long line around the column, which it returns as it is then.
func window(line string, column int) (string, int) {
	chars := []rune(line)
	if len(chars) <= maxExcerpt {
		return line, column
	}
	start := min(max(0, column-maxExcerpt/2), len(chars)-maxExcerpt)
	end := start + maxExcerpt
	if end < len(chars) {
		chars = append(chars[:end:end], '…')
	}
	if start == 0 {
		return string(chars), column
	}
	return "…" + string(chars[start:]), column - start + 1
}

// indent puts the caret under the column, keeping tabs as they are.
func indent(line string, column int) string {
	var b strings.Builder
	for i, c := range []rune(line) {
		if i+1 >= column {
			break
		}
		if c != '\t' {
			c = ' '
		}
		b.WriteRune(c)
	}
	return b.String()
}

// source is a recipe file that was read.
type source struct {
	file  string
	lines []string
}

// fault is an error at a line and column, both from 1; 0 is nowhere.
func (s *source) fault(line, column int, message string) *Error {
	e := &Error{File: s.file, Line: line, Column: column, Message: message}
	if line >= 1 && line <= len(s.lines) {
		e.Excerpt = login.ReplaceAllStringFunc(s.lines[line-1], func(secret string) string {
			return "//" + strings.Repeat("*", utf8.RuneCountInString(secret)-3) + "@"
		})
	}
	return e
}

// login is what an address may hold that no error shows.
var login = regexp.MustCompile(`//[^/@\s"']+@`)

// spot is where a value was written, and where the values in it were. The
// spots of a recipe are a tree like the recipe itself; nil is a spot unknown.
type spot struct {
	in           *source
	line, column int
	below        map[string]*spot // by key or index
}

// spots finds the places of a node's values. A scalar is where it begins, a
// collection where its key or its first element stands.
func (s *source) spots(n *yaml.Node) *spot {
	at := &spot{in: s, line: n.Line, column: n.Column}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 1 {
			return s.spots(n.Content[0])
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], s.spots(n.Content[i+1])
			if n.Content[i+1].Kind != yaml.ScalarNode {
				value.line, value.column = key.Line, key.Column
			}
			at.set(key.Value, value)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			at.set(strconv.Itoa(i), s.spots(c))
		}
	case yaml.ScalarNode, yaml.AliasNode, yaml.StreamNode: // an alias stands for itself: what it means lies elsewhere
	}
	return at
}

// at returns the spot of a value in s, nil if it is not there.
func (s *spot) at(key string) *spot {
	if s == nil {
		return nil
	}
	return s.below[key]
}

// set puts a spot below s, if both are known.
func (s *spot) set(key string, value *spot) {
	if s == nil || value == nil {
		return
	}
	if s.below == nil {
		s.below = make(map[string]*spot)
	}
	s.below[key] = value
}

// fault is an error at a field below s, or at what should hold it.
func (s *spot) fault(field, message string) *Error {
	at := s
	for _, key := range strings.FieldsFunc(field, func(c rune) bool { return strings.ContainsRune(".[]", c) }) {
		next := at.at(key)
		if next == nil {
			break
		}
		at = next
	}
	e := &Error{Message: message}
	if at != nil {
		e = at.in.fault(at.line, at.column, message)
	}
	e.Field = field
	return e
}

// Fault is an error about a field of the recipe, given by its path, with the
// place where it was written.
func (r *Recipe) Fault(field, format string, args ...any) *Error {
	return r.at.fault(field, fmt.Sprintf(format, args...))
}

// Because is [Recipe.Fault] for an error that says why, and stays what it is.
func (r *Recipe) Because(field string, err error) *Error {
	e := r.at.fault(field, plain(err))
	e.Err = err
	return e
}

// plain is an error's text without the sentinel that every error here has.
func plain(err error) string {
	return strings.TrimSuffix(err.Error(), ": "+bundle.ErrInvalid.Error())
}
