// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/runtime/launch"
)

// Sentinels of [Backends].
var (
	// ErrClosed: the manager is shutting down.
	ErrClosed = errors.New("shutting down")
	// ErrBackOff: the engine failed a moment ago and is not tried again yet.
	ErrBackOff = errors.New("not tried again yet")
)

// apiError is an error in OpenAI's shape.
type apiError struct {
	status  int
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func (e *apiError) Error() string { return e.Message }

// newError makes an error; param may be "".
func newError(status int, param, code, message string) *apiError {
	e := &apiError{status: status, Message: message, Type: "invalid_request_error", Code: &code}
	if status >= 500 {
		e.Type = "server_error"
	}
	if param != "" {
		e.Param = &param
	}
	return e
}

// body is the JSON of the error.
func (e *apiError) body() []byte {
	data, err := json.Marshal(map[string]*apiError{"error": e})
	if err != nil { // two strings and two pointers to strings
		panic("proxy: " + err.Error())
	}
	return data
}

// write answers with the error.
func (e *apiError) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	if e.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "2")
	}
	w.WriteHeader(e.status)
	// A client that is gone reads no error.
	_, _ = w.Write(append(e.body(), '\n')) //nolint:gosec // JSON with its own content type, not HTML
}

// hinter is an error that knows what the user can do about it.
type hinter interface {
	error
	Hint() string
}

// engineError maps what a backend returned.
func engineError(err error) *apiError {
	if api, ok := errors.AsType[*apiError](err); ok {
		return api
	}
	text := err.Error()
	failed, isEngine := errors.AsType[*launch.Error](err)
	if isEngine {
		text = failed.Summary()
		if errors.Is(err, ErrBackOff) {
			text += " (" + ErrBackOff.Error() + ")"
		}
	}
	if h, ok := errors.AsType[hinter](err); ok {
		text += "; " + h.Hint()
	}
	switch {
	case errors.Is(err, ErrClosed), errors.Is(err, context.Canceled):
		return newError(http.StatusServiceUnavailable, "", "shutting_down", text)
	case errors.Is(err, bundle.ErrMismatch): // before the next: a blob that is gone is both
		return newError(http.StatusInternalServerError, "model", "model_damaged", text)
	case errors.Is(err, bundle.ErrNotFound):
		return newError(http.StatusNotFound, "model", "model_not_found", text)
	case errors.Is(err, ErrBackOff):
		return newError(http.StatusServiceUnavailable, "", "engine_failed", text)
	case errors.Is(err, launch.ErrNotReady):
		return newError(http.StatusServiceUnavailable, "", "engine_not_ready", text)
	}
	return newError(http.StatusBadGateway, "", "engine_failed", text)
}
