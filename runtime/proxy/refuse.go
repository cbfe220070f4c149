// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"unicode/utf8"
)

// loaders are keys by which a client could make an engine load other weights
// than those of the model it asked for: a path, or a repository of a hub.
func loaders() []string { return []string{"adapters", "draft_model"} }

// conversations are the keys whose values can hold media.
func conversations() []string { return []string{"input", "messages"} }

// refuse reports what must not reach an engine: keys that load files, media
// that the engine would fetch from an address of the client's choice, which may
// be one that only this machine reaches, and options it would choke on.
func (r *request) refuse() error {
	for _, key := range loaders() {
		if raw := r.field(key); raw != nil && string(raw) != "null" {
			return newError(http.StatusBadRequest, key, "unsupported_parameter", key+" is not supported: the weights are those of the model")
		}
	}
	if err := r.options(); err != nil {
		return err
	}
	for _, key := range conversations() {
		raw := r.field(key)
		if raw == nil {
			continue
		}
		m := media{cursor: cursor{data: raw}}
		if err := m.value(0); err != nil {
			return newError(http.StatusBadRequest, key, "invalid_json", fmt.Sprintf("%s: %v", key, err))
		}
		if m.remote != nil {
			return newError(http.StatusBadRequest, key, "media_url_not_allowed",
				fmt.Sprintf("media must be sent as a data: URL; %q is not fetched", shorten(string(m.remote[:min(len(m.remote), utf8.UTFMax*(maxShown+1))]))))
		}
	}
	return nil
}

// options looks into stream_options.
func (r *request) options() error {
	raw := r.field("stream_options")
	if raw == nil || string(raw) == "null" {
		return nil
	}
	if raw[0] != '{' {
		return newError(http.StatusBadRequest, "stream_options", "invalid_type", "stream_options must be an object")
	}
	c := &cursor{data: raw}
	err := c.members(func(key []byte, _ int) error {
		r.usage = r.usage || string(key) == "include_usage"
		c.skip()
		return nil
	})
	if err != nil {
		return newError(http.StatusBadRequest, "stream_options", "invalid_json", "stream_options: "+err.Error())
	}
	return nil
}

// media looks for an address in the parts of messages: {"image_url": "…"},
// {"image_url": {"url": "…"}}, {"source": {"url": "…"}}, {"image": "…"} and the
// like.
type media struct {
	cursor
	remote []byte // the first address that is not the content itself, without quotes
}

// place is what a key says of the value under it.
type place uint8

const (
	isAddress  place = 1 << iota // if it is a string
	hasAddress                   // under "url", if it is an object
)

// placeOf knows the keys that stand for media. Others, citations say, hold
// addresses that nobody fetches, and so does a source that is only named.
func placeOf(key []byte) place {
	switch string(key) {
	case "image", "audio", "video":
		return isAddress | hasAddress
	case "source":
		return hasAddress
	}
	if bytes.HasSuffix(key, []byte("_url")) {
		return isAddress | hasAddress
	}
	return 0
}

// isCall reports whether key holds what a model calls a tool with: keys of the
// tool's own choice, which no engine reads.
func isCall(key []byte) bool { return string(key) == "input" || string(key) == "arguments" }

// value walks one value.
func (m *media) value(p place) error {
	switch m.peek() {
	case '{':
		return m.members(func(key []byte, _ int) error {
			if isCall(key) && m.peek() == '{' {
				m.skip()
				return nil
			}
			below := placeOf(key)
			if string(key) == "url" && p&hasAddress != 0 {
				below |= isAddress
			}
			return m.value(below)
		})
	case '[':
		return m.elements(func() error { return m.value(p) })
	case '"':
		if s := m.text(); p&isAddress != 0 && m.remote == nil && !bytes.HasPrefix(s, []byte(`"data:`)) {
			m.remote = s[1 : len(s)-1]
		}
	default:
		m.word()
	}
	return nil
}

// maxShown is how many characters are shown of a client's words.
const maxShown = 100

// shorten cuts what is shown of a client's words.
func shorten(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxShown {
			return s[:i] + "…"
		}
	}
	return s
}
