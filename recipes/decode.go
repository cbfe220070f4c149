// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"errors"
	"fmt"
	"regexp"

	"go.yaml.in/yaml/v4"
)

// decode reads one recipe strictly. The error is an [*Error], or several
// joined.
func decode(file string, data []byte) (*Recipe, error) {
	src := &source{file: file, lines: lineEnd.Split(string(data), -1)}
	// The version first: a newer format may have fields we do not know.
	var head struct {
		Version int `yaml:"version"`
	}
	var doc yaml.Node
	known := yaml.Load(data, &doc) == nil // where its values stand
	if known {
		if err := src.checkKeys(&doc); err != nil {
			return nil, err
		}
	}
	if err := yaml.Load(data, &head); known && err == nil && head.Version != FormatVersion {
		return nil, src.spots(&doc).fault("version", fmt.Sprintf("%d: this program reads version %d", head.Version, FormatVersion))
	}
	r := new(Recipe)
	err := yaml.Load(data, r, yaml.WithKnownFields())
	if err == nil {
		r.at = src.spots(&doc)
		return r, nil
	}
	if many, ok := errors.AsType[*yaml.LoadErrors](err); ok {
		errs := make([]error, 0, len(many.Errors))
		for _, e := range many.Errors {
			errs = append(errs, src.syntax(e))
		}
		return nil, joined(errs)
	}
	if one, ok := errors.AsType[*yaml.LoadError](err); ok {
		return nil, src.syntax(one)
	}
	return nil, src.fault(0, 0, err.Error())
}

// maxKeys is the cap on the keys of one mapping.
const maxKeys = 1000

// checkKeys refuses a key that stands twice, and more keys than there can be. The
// decoder would find the first too, by comparing every key with every other, and
// report each such pair.
func (s *source) checkKeys(n *yaml.Node) error {
	first := make(map[string]int)
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if line, twice := first[c.Value]; twice && c.Kind == yaml.ScalarNode {
				return s.fault(c.Line, c.Column, fmt.Sprintf("%q is already defined at line %d", c.Value[:min(len(c.Value), maxExcerpt)], line))
			}
			if first[c.Value] = c.Line; i/2 == maxKeys {
				return s.fault(c.Line, c.Column, fmt.Sprintf("more than %d keys", maxKeys))
			}
		}
		if err := s.checkKeys(c); err != nil {
			return err
		}
	}
	return nil
}

// lineEnd is what the decoder takes for one.
var lineEnd = regexp.MustCompile(`\r\n|[\r\n\x{85}\x{2028}\x{2029}]`)

var unknownField = regexp.MustCompile(`^field (\S+) not found in type \S+$`)

func (s *source) syntax(e *yaml.LoadError) *Error {
	message := e.Message
	if m := unknownField.FindStringSubmatch(message); m != nil {
		message = fmt.Sprintf("unknown field %q", m[1][:min(len(m[1]), maxExcerpt)])
	}
	return s.fault(e.Mark.Line, e.Mark.Column, message)
}
