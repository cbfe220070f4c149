// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/metalpack/metalpack/bundle"
)

// SyntaxError is a recipe that does not decode: an unknown field, a value of
// the wrong kind, or no YAML at all. It wraps [bundle.ErrInvalid].
type SyntaxError struct {
	File    string
	Line    int // from 1; 0 = unknown
	Column  int
	Message string
	Excerpt string // the line
}

// Error gives the position and the message, then the line with a caret.
func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Message)
	}
	head := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
	if e.Excerpt == "" {
		return head
	}
	return fmt.Sprintf("%s\n  %s\n  %s^", head, e.Excerpt, caretIndent(e.Excerpt, e.Column))
}

// Unwrap returns [bundle.ErrInvalid].
func (e *SyntaxError) Unwrap() error { return bundle.ErrInvalid }

// caretIndent puts the caret under the column, keeping tabs as they are.
func caretIndent(line string, column int) string {
	var b strings.Builder
	n := 1
	for _, c := range line {
		if n >= column {
			break
		}
		if c == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
		n++
	}
	return b.String()
}

// decode reads one recipe strictly. The error is a [*SyntaxError], or several
// joined, or wraps [bundle.ErrInvalid] for a version this program does not
// know.
func decode(file string, data []byte) (*Recipe, error) {
	// The version first: a newer format may have fields we do not know.
	var head struct {
		Version int `yaml:"version"`
	}
	if err := yaml.Load(data, &head); err == nil && head.Version != FormatVersion {
		return nil, fmt.Errorf("%s: version %d, this program reads version %d: %w", file, head.Version, FormatVersion, bundle.ErrInvalid)
	}
	r := new(Recipe)
	err := yaml.Load(data, r, yaml.WithKnownFields())
	if err == nil {
		return r, nil
	}
	lines := strings.Split(string(data), "\n")
	if many, ok := errors.AsType[*yaml.LoadErrors](err); ok {
		errs := make([]error, 0, len(many.Errors))
		for _, e := range many.Errors {
			errs = append(errs, syntaxError(file, lines, e))
		}
		return nil, errors.Join(errs...)
	}
	if one, ok := errors.AsType[*yaml.LoadError](err); ok {
		return nil, syntaxError(file, lines, one)
	}
	return nil, &SyntaxError{File: file, Message: err.Error()}
}

var unknownField = regexp.MustCompile(`^field (\S+) not found in type \S+$`)

func syntaxError(file string, lines []string, e *yaml.LoadError) *SyntaxError {
	s := &SyntaxError{File: file, Line: e.Mark.Line, Column: e.Mark.Column, Message: e.Message}
	if m := unknownField.FindStringSubmatch(e.Message); m != nil {
		s.Message = fmt.Sprintf("unknown field %q", m[1])
	}
	if s.Line >= 1 && s.Line <= len(lines) {
		s.Excerpt = strings.TrimRight(lines[s.Line-1], "\r")
	}
	return s
}
