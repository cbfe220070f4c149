// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
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
		if raw, ok := r.fields[key]; ok && string(raw) != "null" {
			return newError(http.StatusBadRequest, key, "unsupported_parameter", key+" is not supported: the weights are those of the model")
		}
	}
	if raw, ok := r.fields["stream_options"]; ok && !bytes.HasPrefix(raw, []byte("{")) && string(raw) != "null" {
		return newError(http.StatusBadRequest, "stream_options", "invalid_type", "stream_options must be an object")
	}
	for _, key := range conversations() {
		raw, ok := r.fields[key]
		if !ok {
			continue
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return newError(http.StatusBadRequest, key, "invalid_json", errNotObject.Error())
		}
		if url, found := remoteMedia(v); found {
			return newError(http.StatusBadRequest, key, "media_url_not_allowed",
				fmt.Sprintf("media must be sent as a data: URL; %q is not fetched", shorten(url)))
		}
	}
	return nil
}

// remoteMedia finds an address in the parts of messages: {"image_url": "…"},
// {"image_url": {"url": "…"}}, {"image": "…"} and the like.
func remoteMedia(v any) (string, bool) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if url, found := remoteMedia(item); found {
				return url, true
			}
		}
	case map[string]any:
		for key, value := range v {
			if url, is := mediaURL(key, value); is && !strings.HasPrefix(url, "data:") {
				return url, true
			}
			if url, found := remoteMedia(value); found {
				return url, true
			}
		}
	}
	return "", false
}

// mediaURL returns the address under a key that stands for media. Other keys,
// citations say, hold addresses that nobody fetches.
func mediaURL(key string, value any) (string, bool) {
	if !strings.HasSuffix(key, "_url") && !slices.Contains([]string{"image", "audio", "video"}, key) {
		return "", false
	}
	if inner, ok := value.(map[string]any); ok {
		value = inner["url"]
	}
	url, ok := value.(string)
	return url, ok
}

// shorten cuts what is shown of a client's words.
func shorten(s string) string {
	const most = 100
	if r := []rune(s); len(r) > most {
		return string(slices.Concat(r[:most], []rune("…")))
	}
	return s
}
