// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
)

// Caps on what is looked at in a request. A chat has some dozens of fields.
const (
	maxFields = 1024
	maxKey    = 1024 // bytes of a key
	maxModel  = 1024 // bytes of a model's name, escaped
)

// request is what the proxy reads of a request's body, and the body. Nothing of
// it is decoded but a few short words: a value of two bytes would cost a hundred.
type request struct {
	body   []byte
	fields []field // of the object, in its order
	model  string  // "" if there is none
	stream bool
	usage  bool // stream_options ask for include_usage
}

// field is one member of the body's object.
type field struct {
	name  string
	whole []byte // of the body: the key, the colon and the value
	value []byte // of the body
}

var errNotObject = errors.New("the body is not a JSON object")

// readBody reads a body of at most most bytes, of which the client announced
// size; -1 = nothing. Room is made for what has come, not for what was announced.
func readBody(r io.Reader, size, most int64) ([]byte, error) {
	const first, factor = 64 << 10, 4
	limit := most + 1 // one more tells that it is too large
	if size >= 0 && size < most {
		limit = size + 1 // one more tells that it has ended
	}
	body := make([]byte, 0, min(first, limit))
	for {
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
		if len(body) == cap(body) {
			body = append(make([]byte, 0, max(min(int64(cap(body))*factor, limit), int64(cap(body))+1)), body...)
		}
	}
}

// parseRequest finds the fields of a body and reads what decides its way. A key
// that is there twice is refused: two readers could take two requests for one.
func parseRequest(body []byte) (*request, error) {
	r := &request{body: body}
	c := &cursor{data: body}
	if !json.Valid(body) || c.peek() != '{' {
		return nil, newError(http.StatusBadRequest, "", "invalid_json", errNotObject.Error())
	}
	err := c.members(func(key []byte, from int) error {
		name, begin := string(key), c.at
		c.skip()
		switch {
		case len(r.fields) == maxFields:
			return fmt.Errorf("the body has more than %d fields", maxFields)
		case r.field(name) != nil:
			return fmt.Errorf("field %q appears twice", shorten(name))
		}
		r.fields = append(r.fields, field{name, body[from:c.at], body[begin:c.at]})
		return nil
	})
	if err != nil {
		return nil, newError(http.StatusBadRequest, "", "invalid_json", err.Error())
	}
	if err := r.route(); err != nil {
		return nil, err
	}
	return r, r.refuse()
}

// field returns the value of a field, or nil.
func (r *request) field(name string) []byte {
	i := slices.IndexFunc(r.fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	return r.fields[i].value
}

// route reads the name of the model and whether the answer is a stream.
func (r *request) route() error {
	if raw := r.field("model"); len(raw) > maxModel {
		return newError(http.StatusBadRequest, "model", "invalid_type", fmt.Sprintf("model has more than %d bytes", maxModel))
	} else if raw != nil {
		if err := json.Unmarshal(raw, &r.model); err != nil {
			return newError(http.StatusBadRequest, "model", "invalid_type", "model must be a string")
		}
	}
	switch string(r.field("stream")) {
	case "", "null", "false":
	case "true":
		r.stream = true
	default:
		return newError(http.StatusBadRequest, "stream", "invalid_type", "stream must be true or false")
	}
	return nil
}

// encode returns the body for an engine that knows the model as name, in pieces:
// those of the body that stay as they are are not copied. stream_options without
// include_usage are dropped: mlx_lm takes the key for granted and ends the stream
// without [DONE].
func (r *request) encode(name string) ([][]byte, error) {
	quoted, err := json.Marshal(name)
	if err != nil {
		return nil, err
	}
	pieces := [][]byte{[]byte(`{"model":`), quoted}
	for _, f := range r.fields {
		if f.name == "model" || f.name == "stream_options" && f.value[0] == '{' && !r.usage {
			continue
		}
		pieces = append(pieces, []byte{','}, f.whole)
	}
	return append(pieces, []byte{'}'}), nil
}

// joined reads pieces one after another.
func joined(pieces [][]byte) (r io.Reader, size int64) {
	readers := make([]io.Reader, 0, len(pieces))
	for _, p := range pieces {
		readers = append(readers, bytes.NewReader(p))
		size += int64(len(p))
	}
	return io.MultiReader(readers...), size
}
