// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Bounds of any document read from outside. A value of two bytes costs its
// reader a hundred: the largest honest document, the index of a model of a
// trillion parameters, has less than half of these.
const (
	maxJSONDepth  = 64
	maxJSONValues = 1 << 19
	// Of a manifest, an index or environment.json, whose values cost more: 4,096
	// layers have a third of these.
	maxManifestValues = 1 << 17
)

// decodeUpTo decodes one JSON document of at most so many values into v. Go's
// decoder lets the last of two equal keys win, takes "Layers" for layers, a second
// document for nothing, and repairs bad UTF-8; two readers could then see two
// documents in the same bytes, so all of that is an error here. Unknown fields are
// ignored, as the image specification asks. Errors wrap [ErrInvalid].
func decodeUpTo(values int, data []byte, v any) error {
	if !utf8.Valid(data) {
		return fmt.Errorf("JSON is not UTF-8: %w", ErrInvalid)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return fmt.Errorf("JSON: there is none: %w", ErrInvalid)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := checkKeys(dec, reflect.TypeOf(v), values); err != nil {
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

// jsonNames are the words of JSON for what is not called so in Go.
var jsonNames = map[reflect.Kind]string{
	reflect.Map: "object", reflect.Struct: "object", reflect.Slice: "array", reflect.Array: "array",
	reflect.Int: "whole number", reflect.Int64: "whole number", reflect.Uint64: "whole number",
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
	want := cmp.Or(jsonNames[wrong.Type.Kind()], wrong.Type.String())
	return fmt.Errorf("%s is of type %s, want %s, at byte %d", what, wrong.Value, want, wrong.Offset)
}

// DecodeStrict decodes a document into v as all are here: one document, no
// duplicate keys, UTF-8, bounded depth and number of values. Errors wrap
// [ErrInvalid].
func DecodeStrict(data []byte, v any) error { return decodeUpTo(maxJSONValues, data, v) }

// DecodeManifest is [DecodeStrict] for manifests and indexes, which have fewer
// values. Errors wrap [ErrInvalid].
func DecodeManifest(data []byte, v any) error { return decodeUpTo(maxManifestValues, data, v) }

// keyWalk walks the tokens of one document.
type keyWalk struct {
	dec    *json.Decoder
	values int                                      // seen
	most   int                                      // of them
	fields map[reflect.Type]map[string]reflect.Type // of structs, by key
}

func checkKeys(dec *json.Decoder, into reflect.Type, most int) error {
	dec.UseNumber()
	w := &keyWalk{dec: dec, most: most, fields: map[reflect.Type]map[string]reflect.Type{}}
	if err := w.value(0, into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	return nil
}

// value walks a value that goes into a type; nil if nobody looks at it.
func (w *keyWalk) value(depth int, into reflect.Type) error {
	if depth > maxJSONDepth {
		return fmt.Errorf("nested deeper than %d", maxJSONDepth)
	}
	if w.values++; w.values > w.most {
		return fmt.Errorf("more than %d values", w.most)
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
		below := elem(into)
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
			if below, err = w.member(into, name); err != nil {
				return err
			}
		}
		if err := w.value(depth+1, below); err != nil {
			return err
		}
	}
	_, err = w.dec.Token() // the closing delimiter
	return err
}

// elem is what the elements of a list or map go into.
func elem(t reflect.Type) reflect.Type {
	if t = target(t); t == nil || (t.Kind() != reflect.Slice && t.Kind() != reflect.Array && t.Kind() != reflect.Map) {
		return nil
	}
	return t.Elem()
}

// target follows pointers. Types that read their JSON themselves are nobody's
// business here.
func target(t reflect.Type) reflect.Type {
	for t != nil && !reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		if t.Kind() != reflect.Pointer {
			return t
		}
		t = t.Elem()
	}
	return nil
}

// member is what the value of a key goes into: a field by the name in its tag,
// as all formats have it. A key that differs from a
// field's in case alone would be taken for it.
func (w *keyWalk) member(t reflect.Type, key string) (reflect.Type, error) {
	if t = target(t); t == nil || t.Kind() != reflect.Struct {
		return elem(t), nil
	}
	if w.fields[t] == nil {
		w.fields[t] = map[string]reflect.Type{}
		for _, f := range reflect.VisibleFields(t) {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
				w.fields[t][name] = f.Type
			}
		}
	}
	if into, ok := w.fields[t][key]; ok {
		return into, nil
	}
	for name := range w.fields[t] {
		if strings.EqualFold(name, key) {
			return nil, fmt.Errorf("key %q, which is %q in another case,", key, name)
		}
	}
	return nil, nil
}
