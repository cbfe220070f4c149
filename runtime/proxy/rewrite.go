// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
)

// request is what the proxy reads of a request's body.
type request struct {
	fields map[string]json.RawMessage
	model  string // "" if there is none
	stream bool
}

var errNotObject = errors.New("the body is not a JSON object")

// parseRequest reads a body.
func parseRequest(body []byte) (*request, error) {
	r := &request{}
	if err := json.Unmarshal(body, &r.fields); err != nil || r.fields == nil {
		return nil, newError(http.StatusBadRequest, "", "invalid_json", errNotObject.Error())
	}
	if raw, ok := r.fields["model"]; ok {
		if err := json.Unmarshal(raw, &r.model); err != nil {
			return nil, newError(http.StatusBadRequest, "model", "invalid_type", "model must be a string")
		}
	}
	if raw, ok := r.fields["stream"]; ok {
		if err := json.Unmarshal(raw, &r.stream); err != nil {
			return nil, newError(http.StatusBadRequest, "stream", "invalid_type", "stream must be true or false")
		}
	}
	return r, r.refuse()
}

// encode returns the body for an engine that knows the model as name.
// stream_options without include_usage are dropped: mlx_lm takes the key for
// granted and ends the stream without [DONE].
func (r *request) encode(name string) ([]byte, error) {
	quoted, err := json.Marshal(name)
	if err != nil {
		return nil, err
	}
	r.fields["model"] = quoted
	if raw, ok := r.fields["stream_options"]; ok {
		var options map[string]json.RawMessage
		if json.Unmarshal(raw, &options) == nil && options["include_usage"] == nil {
			delete(r.fields, "stream_options")
		}
	}
	return json.Marshal(r.fields)
}

// replaceModel puts name where a JSON object says "model": at the top, and in
// "response" and "message", where streams of other APIs have it. Everything
// else keeps its bytes. What is not such an object is returned as it is.
func replaceModel(data []byte, name string) []byte {
	quoted, err := json.Marshal(name)
	if err != nil {
		return data
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return data
	}
	var out []byte
	copied := 0
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return data
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return data
		}
		end := int(dec.InputOffset())
		begin := end - len(raw)
		value := []byte(raw)
		switch {
		case key == "model" && raw[0] == '"':
			value = quoted
		case (key == "response" || key == "message") && raw[0] == '{':
			value = replaceModel(raw, name)
		}
		out = append(append(out, data[copied:begin]...), value...)
		copied = end
	}
	return append(out, data[copied:]...)
}

// normaliseError gives an engine's error OpenAI's shape and hides the
// directory, which is the model's name for the engine alone.
func normaliseError(status int, body []byte, engineName, asked string) *apiError {
	body = bytes.ReplaceAll(body, []byte(engineName), []byte(asked))
	var shaped struct {
		Error json.RawMessage `json:"error"`
	}
	var inner apiError
	var text string
	if json.Unmarshal(body, &shaped) != nil || len(shaped.Error) == 0 {
		text = string(bytes.TrimSpace(body))
	} else if json.Unmarshal(shaped.Error, &text) != nil {
		// Codes are numbers with some engines, and then not worth more.
		var loose struct {
			Message string  `json:"message"`
			Type    string  `json:"type"`
			Param   *string `json:"param"`
		}
		if err := json.Unmarshal(shaped.Error, &loose); err == nil && loose.Message != "" {
			inner = apiError{Message: loose.Message, Type: loose.Type, Param: loose.Param}
		} else {
			text = string(shaped.Error)
		}
	}
	out := newError(status, "", "engine_error", text)
	if inner.Message != "" {
		out.Message, out.Param = inner.Message, inner.Param
		if inner.Type != "" {
			out.Type = inner.Type
		}
	}
	if out.Message == "" {
		out.Message = "the engine answered " + http.StatusText(status)
	}
	return out
}
