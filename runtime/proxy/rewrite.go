// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"encoding/json"
	"net/http"
)

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
