// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	goruntime "runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/pipetest"
	"github.com/metalpack/metalpack/runtime/launch/launchtest"
	"github.com/metalpack/metalpack/runtime/proxy"
)

func TestRefused(t *testing.T) {
	t.Parallel()
	b := start(t, launchtest.Sound)
	image := func(part string) string {
		return `{"model": "tiny", "messages": [{"role": "user", "content": [{"type": "text", "text": "see http://example.com/"}, ` + part + `]}]}`
	}
	for body, code := range map[string]string{
		`{"model": "tiny", "adapters": "/etc"}`:                                          "unsupported_parameter",
		`{"model": "tiny", "draft_model": "org/other"}`:                                  "unsupported_parameter",
		`{"model": "tiny", "stream": true, "stream_options": "x"}`:                       "invalid_type",
		`{"model": "tiny", "stream": "yes"}`:                                             "invalid_type",
		image(`{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}`): "media_url_not_allowed",
		image(`{"type": "image_url", "image_url": "file:///etc/passwd"}`):                "media_url_not_allowed",
		image(`{"type": "image", "\u0069mage": "https://example.com/x"}`):                "media_url_not_allowed",
		`{"model": "tiny", "input": [{"type": "input_image", "image_url": "//h/x"}]}`:    "media_url_not_allowed",
		image(`{"type": "image", "source": {"type": "url", "url": "http://h/x"}}`):       "media_url_not_allowed",
		image(`{"type": "image_url", "image_url": ["data:,", "http://h/x"]}`):            "media_url_not_allowed",
		`{"model": "tiny", "messages": [], "messages": []}`:                              "invalid_json",
		image(`{"type": "tool_use", "input": {"url": "x"}, "image": "http://h/x"}`):      "media_url_not_allowed",
		image(`{"type": "x", "input": [{"image_url": "http://h/x"}]}`):                   "media_url_not_allowed",
		`{"model": "tiny", "input": {"image_url": "http://h/x"}}`:                        "media_url_not_allowed",
	} {
		if status, answer := b.post(t, "/v1/chat/completions", body); status != http.StatusBadRequest || !strings.Contains(answer, `"code":"`+code+`"`) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	for _, body := range []string{
		image(`{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}`),
		`{"model": "tiny", "messages": [{"role": "assistant", "annotations": [{"url_citation": {"url": "https://example.com/"}}]}]}`,
		`{"model": "tiny", "adapters": null, "stream_options": null}`,
		`{"model": "tiny", "messages": [{"role": "user", "content": [{"type": "search_result", "source": "https://example.com/"}]}]}`,
		image(`{"type": "tool_use", "name": "fetch", "input": {"source": {"url": "https://example.com/"}, "image": "a.png"}}`),
		image(`{"type": "x", "functionCall": {"\u0061rguments": {"image_url": "https://example.com/"}}}`),
		`{"model": "tiny", "input": [{"type": "function_call", "arguments": {"video": ["https://example.com/"]}}]}`,
	} {
		if status, answer := b.post(t, "/v1/chat/completions", body); status != http.StatusOK {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
}

// quick is an endpoint over an engine that is the test's own handler.
func quick(t *testing.T, o proxy.Options, engine http.HandlerFunc) *httptest.Server {
	t.Helper()
	inner := httptest.NewServer(engine)
	server := httptest.NewServer(proxy.New(quickOptions(o, inner.URL)))
	t.Cleanup(func() {
		server.Close()
		inner.Close()
	})
	return server
}

func quickOptions(o proxy.Options, engine string) proxy.Options {
	o.Backends = &always{url: engine}
	o.Endpoints = []string{"/v1/completions"}
	o.Models = proxy.ModelsFunc(func(context.Context) ([]proxy.Model, error) { return []proxy.Model{{ID: "ai/x:latest"}}, nil })
	return o
}

// always is a backend that runs.
type always struct{ url string }

func (a *always) Acquire(context.Context, string) (*proxy.Lease, error) {
	return &proxy.Lease{URL: a.url, Model: "m", Release: func() {}}, nil
}

func (*always) Loaded() string { return "" }

// say sends raw bytes and returns the status line and the rest of the answer.
func say(t *testing.T, url, text string) (status, answer string) {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status, string(data)
}

// A client that does not end its request, and one whose request is broken.
func TestSlowAndBrokenBodies(t *testing.T) {
	t.Parallel()
	head := "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
	for text, want := range map[string]struct {
		wait         time.Duration
		status, code string
	}{
		head + "Content-Length: 100\r\n\r\n{":                 {50 * time.Millisecond, "408", "request_timeout"},
		head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n": {0, "400", "invalid_body"},
	} {
		server := quick(t, proxy.Options{BodyTimeout: want.wait}, func(http.ResponseWriter, *http.Request) { t.Error("the engine was asked") })
		status, answer := say(t, server.URL, text)
		if !strings.HasPrefix(status, want.status) || !strings.Contains(answer, `"code":"`+want.code+`"`) {
			t.Errorf("%q: %s %s", text, status, answer)
		}
	}
}

// The deadline of the body does not end an answer that takes longer.
func TestLongAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		engine := pipetest.Client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(time.Hour):
				_, _ = io.WriteString(w, "late")
			case <-r.Context().Done():
				t.Error("it was given up")
			}
		}))
		client := pipetest.Client(t, proxy.New(quickOptions(proxy.Options{Transport: engine.Transport}, "http://localhost")))
		client.Transport.(*http.Transport).ExpectContinueTimeout = time.Hour //nolint:forcetypeassert // pipetest makes it
		for name, change := range map[string]func(*http.Request){
			"length":   func(*http.Request) {},
			"chunked":  func(r *http.Request) { r.ContentLength = -1 },
			"continue": func(r *http.Request) { r.Header.Set("Expect", "100-continue") },
		} { // on one connection
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/v1/completions", strings.NewReader(`{"prompt": "x"}`))
			if err != nil {
				t.Fatal(err)
			}
			change(req)
			if status, answer := do(t, client, req); status != http.StatusOK || answer != "late" {
				t.Errorf("%s: %d %q", name, status, answer)
			}
		}
	})
}

// A stream of 64 MB passes through little memory.
func TestStreamMemory(t *testing.T) { //nolint:paralleltest // it looks at the memory of the whole program
	const events, size = 1024, 64 << 10
	event := `data: {"model": "m", "text": "` + strings.Repeat("x", size) + `"}` + "\n\n"
	server := quick(t, proxy.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range events {
			if _, err := io.WriteString(w, event); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/completions", strings.NewReader(`{"prompt": "x", "stream": true}`))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	most, got := uint64(0), int64(0)
	for err == nil {
		var n int64
		n, err = io.CopyN(io.Discard, resp.Body, 16<<20)
		got += n
		var m goruntime.MemStats
		goruntime.ReadMemStats(&m)
		most = max(most, m.HeapInuse)
	}
	t.Logf("%d MB in %s with %d MB of heap", got>>20, time.Since(begin).Round(time.Millisecond), most>>20)
	if got < events*size || most > 32<<20 {
		t.Errorf("%d bytes, %d of heap", got, most)
	}
}

// No goroutine is left of a manager that was closed, and so no process, for
// each has one that waits for it.
func TestNothingLeft(t *testing.T) { //nolint:paralleltest // it counts the goroutines of the whole program
	before := goruntime.NumGoroutine()
	for _, mode := range []string{launchtest.Sound, launchtest.Dies} {
		manager := proxy.NewManager(proxy.ManagerConfig{
			Engine: "fake", VersionDir: launchtest.Version(t), Profile: launchtest.Profile(mode), LogDir: t.TempDir(), ScratchDir: t.TempDir(),
			Resolve: func(context.Context, string) (string, []string, error) { return t.TempDir(), nil, nil },
			Events:  func(bundle.Event) {},
		})
		lease, err := manager.Acquire(t.Context(), "x")
		if (err == nil) != (mode == launchtest.Sound) {
			t.Fatalf("%s: %v", mode, err)
		}
		if err == nil {
			lease.Release()
		}
		if err := manager.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for deadline := time.Now().Add(time.Minute); goruntime.NumGoroutine() > before; goruntime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, goruntime.NumGoroutine(), buf[:goruntime.Stack(buf, true)])
		}
	}
}

// Every error path answers in one shape, whatever the method and the path.
func TestOneShape(t *testing.T) {
	t.Parallel()
	server := quick(t, proxy.Options{}, func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusInternalServerError
		if body, err := io.ReadAll(r.Body); err == nil && strings.Contains(string(body), "redirect") {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			status = http.StatusFound
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<h1>oops</h1>")
	})
	head := " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	post := func(body string) string {
		return fmt.Sprintf("POST /v1/completions%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
	}
	for text, want := range map[string]string{
		"GET /nothing" + head + "\r\n":                                               "404",
		"GET /v1/completions" + head + "\r\n":                                        "405",
		"DELETE /v1/models" + head + "\r\n":                                          "405",
		"GET /v1/models/none" + head + "\r\n":                                        "404",
		"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n": "403",
		post(""):                      "400",
		post("[]"):                    "400",
		post(`{"model": "none"}`):     "404",
		post(`{"model": {}}`):         "400",
		post(`{"prompt": "x"}`):       "500",
		post(`{"prompt":"redirect"}`): "502",
	} {
		status, answer := say(t, server.URL, text)
		var got struct {
			Error map[string]any `json:"error"`
		}
		if err := json.Unmarshal([]byte(answer), &got); err != nil || !strings.HasPrefix(status, want) || len(got.Error) != 4 || got.Error["message"] == "" {
			t.Errorf("%q: %s %s %v", text, status, answer, err)
		}
	}
}
