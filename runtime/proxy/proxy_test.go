// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/runtime/launch/launchtest"
	"github.com/metalpack/metalpack/runtime/proxy"
)

func TestMain(m *testing.M) {
	launchtest.Main()
	os.Exit(m.Run())
}

const tiny, other = "docker.io/ai/tiny:latest", "localhost:5000/ai/other:v1"

// bench is a handler over a manager over a fake engine.
type bench struct {
	url     string
	manager *proxy.Manager
	models  string // directory

	mu     sync.Mutex
	key    string // of tiny; "" = its ID
	events []bundle.Event
}

func start(t *testing.T, mode string) *bench {
	t.Helper()
	return startWaiting(t, mode, time.Minute)
}

// startWaiting lets a broken request wait so long for the end of its engine.
func startWaiting(t *testing.T, mode string, end time.Duration) *bench {
	t.Helper()
	b := &bench{models: t.TempDir()}
	profile := launchtest.Profile(mode)
	b.manager = proxy.NewManager(proxy.ManagerConfig{
		Engine: "fake", VersionDir: launchtest.Version(t), Profile: profile,
		Resolve: func(_ context.Context, id string) (string, []string, error) {
			if id == other {
				return filepath.Join(b.models, "other"), []string{other}, nil
			}
			return filepath.Join(b.models, "tiny"), []string{tiny}, nil
		},
		LogDir: t.TempDir(), ScratchDir: t.TempDir(), Grace: 5 * time.Second, BackOff: time.Hour, EndWait: end,
		Events: func(e bundle.Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		},
	})
	server := httptest.NewServer(proxy.New(proxy.Options{
		Models: proxy.ModelsFunc(func(context.Context) ([]proxy.Model, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return []proxy.Model{{ID: tiny, Key: b.key, Names: []string{tiny, "docker.io/ai/alias:v2"}, Created: 7}, {ID: other, Names: []string{other}}, {ID: "hidden", Unlisted: true}}, nil
		}),
		Backends: b.manager, Endpoints: profile.Endpoints, AllowHosts: []string{"host.docker.internal"}, MaxBody: 100_000,
	}))
	t.Cleanup(func() {
		server.Close()
		if err := b.manager.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	b.url = server.URL
	return b
}

// starts counts the engines that became ready.
func (b *bench) starts() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, e := range b.events {
		if e.Kind == bundle.EventDone {
			n++
		}
	}
	return n
}

// post sends a body and returns status and answer.
func (b *bench) post(t *testing.T, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return do(t, http.DefaultClient, req)
}

func do(t *testing.T, client *http.Client, req *http.Request) (int, string) {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func TestChat(t *testing.T) {
	t.Parallel()
	b := start(t, launchtest.Sound)
	for _, name := range []string{tiny, "ai/tiny", "tiny", "AI/Tiny:latest", "docker.io/ai/alias:v2", "ai/alias:v2"} {
		for _, prefix := range []string{"/v1", "/engines/v1"} {
			status, answer := b.post(t, prefix+"/chat/completions", fmt.Sprintf(`{"model": %q, "messages": [], "seed": 12345678901234567890}`, name))
			var got struct {
				Model   string `json:"model"`
				Choices []struct {
					Message struct {
						Content string `json:"content"`
						Model   string `json:"model"`
					} `json:"message"`
				} `json:"choices"`
			}
			if err := json.Unmarshal([]byte(answer), &got); err != nil || status != http.StatusOK || len(got.Choices) != 1 {
				t.Fatalf("%s: %d %s", name, status, answer)
			}
			sent := got.Choices[0].Message
			if got.Model != name || sent.Model != "inner" {
				t.Errorf("%s: answered as %s, inner model %s", name, got.Model, sent.Model)
			}
			if !strings.Contains(sent.Content, `"model":"`+filepath.Join(b.models, "tiny")+`"`) || !strings.Contains(sent.Content, "12345678901234567890") {
				t.Errorf("%s: the engine was asked %s", name, sent.Content)
			}
		}
	}
	// Without a name it is the loaded model.
	if _, answer := b.post(t, "/v1/completions", `{"prompt": "x"}`); !strings.Contains(answer, `"model": "`+tiny+`"`) {
		t.Errorf("no name: %s", answer)
	}
	if n := b.starts(); n != 1 {
		t.Errorf("%d starts", n)
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	b := startWaiting(t, launchtest.Sound, time.Millisecond) // one that ends a stream early lives
	_, answer := b.post(t, "/v1/chat/completions", `{"model": "tiny", "stream": true, "stream_options": {}}`)
	if strings.Contains(answer, "stream_options") || !strings.HasPrefix(answer, ": keepalive") ||
		!strings.Contains(answer, `data: {"model": "tiny",`) || !strings.HasSuffix(answer, "data: [DONE]\n\n") {
		t.Errorf("got %s", answer)
	}
	_, answer = b.post(t, "/v1/chat/completions", `{"model": "tiny", "stream": true, "stream_options": {"include_usage": true}}`)
	if !strings.Contains(answer, "include_usage") {
		t.Errorf("wanted option is gone: %s", answer)
	}
	_, answer = b.post(t, "/v1/chat/completions", `{"model": "tiny", "stream": true, "x": "cut"}`)
	if !strings.Contains(answer, `data: {"error":{"message":"no answer from the engine: the engine ended the stream before [DONE]"`) {
		t.Errorf("cut stream: %s", answer)
	}
}

// TestErrors: the shape is OpenAI's, whoever makes the error.
func TestErrors(t *testing.T) {
	t.Parallel()
	b := start(t, launchtest.Sound)
	for _, tt := range []struct {
		path, body string
		status     int
		code, text string
	}{
		{"/v1/chat/completions", `{"model": "nope"}`, 404, "model_not_found", "'metalrun list' shows those there are: docker.io/ai/tiny:latest, localhost:5000/ai/other:v1"},
		{"/v1/chat/completions", `{"messages": []}`, 400, "model_required", "several"},
		{"/v1/chat/completions", `{"model": 1}`, 400, "invalid_type", "string"},
		{"/v1/chat/completions", `nonsense`, 400, "invalid_json", "JSON"},
		{"/v1/chat/completions", `{"x": "` + strings.Repeat("x", 200_000) + `"}`, 413, "request_too_large", "100000"},
		{"/v1/embeddings", `{}`, 404, "unknown_endpoint", "/v1/chat/completions"},
		{"/v1/models", `{}`, 405, "method_not_allowed", "GET"},
		{"/v1/chat/completions", `{"model": "tiny", "x": "fail"}`, 404, "engine_error", "cannot use tiny"},
	} {
		status, answer := b.post(t, tt.path, tt.body)
		var got struct {
			Error struct {
				Message string `json:"message"`
				Type    string `json:"type"`
				Code    string `json:"code"`
			} `json:"error"`
		}
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Errorf("%s: %v", answer, err)
			continue
		}
		if status != tt.status || got.Error.Code != tt.code || !strings.Contains(got.Error.Message, tt.text) || got.Error.Type == "" {
			t.Errorf("%s %.40s: %d %+v", tt.path, tt.body, status, got.Error)
		}
		for _, key := range []string{`"message"`, `"type"`, `"param"`, `"code"`} {
			if !strings.Contains(answer, key) {
				t.Errorf("%s: no %s", answer, key)
			}
		}
	}
}

// TestEngineFails: at start, and at work; the cause is told, and the next
// request after the back-off starts it again.
func TestEngineFails(t *testing.T) {
	t.Parallel()
	b := start(t, launchtest.Dies)
	status, answer := b.post(t, "/v1/chat/completions", `{"model": "tiny"}`)
	if status != http.StatusBadGateway || !strings.Contains(answer, "FileNotFoundError: No safetensors") || !strings.Contains(answer, "pull it again") {
		t.Errorf("at start: %d %s", status, answer)
	}
	status, answer = b.post(t, "/v1/chat/completions", `{"model": "tiny"}`)
	if status != http.StatusServiceUnavailable || !strings.Contains(answer, proxy.ErrBackOff.Error()) {
		t.Errorf("at once again: %d %s", status, answer)
	}
	b = start(t, launchtest.Sound)
	status, answer = b.post(t, "/v1/chat/completions", `{"model": "tiny", "x": "die"}`)
	if status != http.StatusBadGateway || !strings.Contains(answer, "exit status 3: MemoryError: out of it") {
		t.Errorf("at work: %d %s", status, answer)
	}
}

func TestModelsAndHealth(t *testing.T) {
	t.Parallel()
	b := start(t, launchtest.Never)
	for path, want := range map[string]string{
		"/v1/models":          `{"data":[{"id":"docker.io/ai/tiny:latest","object":"model","created":7,`,
		"/v1/models?all":      `["localhost:5000/ai/other:v1"]}],"object":"list"`, // and not the hidden one
		"/v1/models/hidden":   `"id":"hidden"`,
		"/engines/v1/models":  `"object":"list"`,
		"/v1/models/ai/alias": `model_not_found`,
		"/v1/models/ai/tiny":  `"id":"docker.io/ai/tiny:latest"`,
		"/health":             `"status":"ok"`,
		"/":                   `"loaded":""`,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if _, answer := do(t, http.DefaultClient, req); !strings.Contains(answer, want) {
			t.Errorf("%s: %s", path, answer)
		}
	}
}

// TestGuard: DNS rebinding and foreign pages.
func TestGuard(t *testing.T) {
	t.Parallel()
	b := start(t, launchtest.Never)
	for _, tt := range []struct {
		host, origin string
		status       int
	}{
		{"", "", 200},
		{"localhost:1", "http://localhost:3000", 200},
		{"[::1]:1", "", 200},
		{"host.docker.internal:12436", "", 200},
		{"evil.example", "", 403},
		{"192.168.1.2:80", "", 403},
		{"localhost.evil.example", "", 403},
		{"localhost", "https://evil.example", 403},
		{"localhost", "null", 403},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/v1/models", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if req.Host = tt.host; tt.origin != "" {
			req.Header.Set("Origin", tt.origin)
		}
		status, answer := do(t, http.DefaultClient, req)
		if status != tt.status || status == http.StatusForbidden && !strings.Contains(answer, "--allow-host") {
			t.Errorf("%+v: %d %s", tt, status, answer)
		}
	}
}
