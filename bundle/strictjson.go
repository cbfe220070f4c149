// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"unicode/utf8"
)

// Bounds of any document read from outside. A value of two bytes costs its
// reader a hundred: the largest honest document, the index of a model of a
// trillion parameters, has less than half of these.
const (
	maxJSONDepth  = 64
	maxJSONValues = 1 << 19
)

// decodeStrict decodes one JSON document into v. Go's decoder lets the last of
// two equal keys win, takes a second document for nothing, and repairs bad
// UTF-8; two readers could then see two documents in the same bytes, so all of
// that is an error here. Unknown fields are ignored, as the image
// specification asks. Errors wrap [ErrInvalid].
func decodeStrict(data []byte, v any) error {
	if !utf8.Valid(data) {
		return fmt.Errorf("JSON is not UTF-8: %w", ErrInvalid)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return fmt.Errorf("JSON: there is none: %w", ErrInvalid)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := checkKeys(dec); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("ends too early")
		}
		return fmt.Errorf("JSON: %w at byte %d: %w", err, dec.InputOffset(), ErrInvalid)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("JSON: %w: %w", inWords(err), ErrInvalid)
	}
	return nil
}

// inWords says of a value of another type what it is and what it should be,
// without the names that types have in Go.
func inWords(err error) error {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err
	}
	what := "the document"
	if wrong.Field != "" {
		what = fmt.Sprintf("%q", wrong.Field)
	}
	want := wrong.Type.String()
	switch wrong.Type.Kind() {
	case reflect.Map, reflect.Struct:
		want = "object"
	case reflect.Slice, reflect.Array:
		want = "array"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		want = "whole number"
	}
	return fmt.Errorf("%s is of type %s, want %s, at byte %d", what, wrong.Value, want, wrong.Offset)
}

// DecodeStrict is decodeStrict for the packages below bundle: one document, no
// duplicate keys, UTF-8, bounded depth and number of values. Errors wrap
// [ErrInvalid].
func DecodeStrict(data []byte, v any) error { return decodeStrict(data, v) }

// keyWalk walks the tokens of one document.
type keyWalk struct {
	dec    *json.Decoder
	values int
}

func checkKeys(dec *json.Decoder) error {
	dec.UseNumber()
	w := &keyWalk{dec: dec}
	if err := w.value(0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	return nil
}

func (w *keyWalk) value(depth int) error {
	if depth > maxJSONDepth {
		return fmt.Errorf("nested deeper than %d", maxJSONDepth)
	}
	if w.values++; w.values > maxJSONValues {
		return fmt.Errorf("more than %d values", maxJSONValues)
	}
	tok, err := w.dec.Token()
	if err != nil {
		return err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	keys := map[string]bool{}
	for w.dec.More() {
		if delim == '{' {
			key, err := w.dec.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string) // the decoder allows nothing else here
			if keys[name] {
				return fmt.Errorf("key %q twice", name)
			}
			keys[name] = true
		}
		if err := w.value(depth + 1); err != nil {
			return err
		}
	}
	_, err = w.dec.Token() // the closing delimiter
	return err
}
