// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/runtime/proxy"
)

// TestHostileRequests (HOSTILE L2, L3): a page in a browser gets nowhere, and what
// the profile does not list is answered here, not by the engine.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	server := quick(t, proxy.Options{}, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the engine was asked for %s", r.URL) })
	request := func(line, host, more string) string {
		return fmt.Sprintf("%s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\nConnection: close\r\n%s\r\n", line, host, more)
	}
	for text, want := range map[string]string{
		request("GET /v1/models", "evil.com", ""):                                                                                  "403",
		request("GET /v1/models", "localhost/docs?x=", ""):                                                                         "40", // 400 of net/http, or our 403
		request("GET /v1/models", "localhost@evil.com", ""):                                                                        "40",
		request("GET /v1/models", "127.0.0.1.evil.com:80", ""):                                                                     "403",
		request("GET /v1/models", "2130706433", ""):                                                                                "403",
		request("GET http://evil.com/v1/models", "localhost", ""):                                                                  "403",
		request("GET /v1/models", "localhost", "Origin: https://evil.com\r\n"):                                                     "403",
		request("GET /v1/models", "localhost", "Origin: https://localhost.evil.com\r\n"):                                           "403",
		request("POST /v1/completions", "localhost", "Origin: https://evil.com\r\n"):                                               "403",
		request("OPTIONS /v1/completions", "localhost", "Origin: https://evil.com\r\nAccess-Control-Request-Method: POST\r\n"):     "403",
		request("OPTIONS /v1/completions", "evil.com", "Origin: http://localhost:3000\r\nAccess-Control-Request-Method: POST\r\n"): "403",
		request("POST /invocations", "localhost", ""):                                                                              "404",
		request("POST /pause", "localhost", ""):                                                                                    "404",
		request("GET /docs", "localhost", ""):                                                                                      "404",
		request("GET /openapi.json", "localhost", ""):                                                                              "404",
		request("GET /metrics", "localhost", ""):                                                                                   "404",
		request("POST /v1/load_lora_adapter", "localhost", ""):                                                                     "404",
		request("POST /v1/completions/../../pause", "localhost", ""):                                                               "404",
		request("POST /v1/completions%2f..%2f..%2fpause", "localhost", ""):                                                         "404",
		request("POST //pause", "localhost", ""):                                                                                   "404",
	} {
		if status, answer := say(t, server.URL, text); !strings.HasPrefix(status, want) {
			t.Errorf("%q: %s %s", text, status, answer)
		}
	}
}
