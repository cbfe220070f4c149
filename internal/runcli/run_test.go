// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/metalpack/metalpack/internal/edge"
)

// TestAnswers: what servers of others send is an answer or an error, and never
// silence.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const word = `{"choices":[{"delta":{"content":"hi"}}]}`
	for name, tt := range map[string]struct {
		kind, body string
		code       int
		stdout     string
		stderr     string // after the address
	}{
		"stream":     {"text/event-stream; charset=utf-8", "data: " + word + "\n\ndata: [DONE]\n\n", edge.ExitOK, "hi\n", ""},
		"no blank":   {"text/event-stream", "data:" + word + "\n\ndata:[DONE]\n\n", edge.ExitOK, "hi\n", ""},
		"error":      {"text/event-stream", "data: {\"error\":{\"message\":\"no room\"}}\n\n", edge.ExitError, "", "metalrun: error: no room\n"},
		"late error": {"text/event-stream", "data: " + word + "\n\ndata: {\"error\":{\"message\":\"no room\"}}\n\n", edge.ExitError, "hi\n", "metalrun: error: no room\n"},
		"page":       {"text/html", "<html>", edge.ExitError, "", `: it answers with "text/html", want a stream of events` + "\n"},
		"no JSON":    {"text/event-stream", "data: <html>\n\n", edge.ExitError, "", "metalrun: error: the stream has a line that is not JSON: invalid character '<' looking for beginning of value\n"},
		"cut":        {"text/event-stream", "data: " + word + "\n\n", edge.ExitError, "hi\n", "metalrun: error: the answer was cut: the stream ended before [DONE]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				if _, err := io.WriteString(w, tt.body); err != nil {
					t.Error(err)
				}
			}))
			defer srv.Close()
			want := result{tt.code, tt.stdout, tt.stderr}
			if name == "page" {
				want.stderr = "metalrun: error: " + srv.URL + tt.stderr
			}
			if got := command(t, "run", "x", "hello", "--endpoint", srv.URL); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}
