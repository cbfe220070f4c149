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
		return nil, errors.Join(errs...)
	}
	if one, ok := errors.AsType[*yaml.LoadError](err); ok {
		return nil, src.syntax(one)
	}
	return nil, src.fault(0, 0, err.Error())
}

// lineEnd is what the decoder takes for one.
var lineEnd = regexp.MustCompile(`\r\n|[\r\n\x{85}\x{2028}\x{2029}]`)

var unknownField = regexp.MustCompile(`^field (\S+) not found in type \S+$`)

func (s *source) syntax(e *yaml.LoadError) *Error {
	message := e.Message
	if m := unknownField.FindStringSubmatch(message); m != nil {
		message = fmt.Sprintf("unknown field %q", m[1])
	}
	return s.fault(e.Mark.Line, e.Mark.Column, message)
}
