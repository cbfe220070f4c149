// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/tinymodel"
	"github.com/metalpack/metalpack/runtime/proxy"
)

// realEnv names a tree with bin/python3.12 and mlx_lm for [TestRealEngine].
const realEnv = "METALPACK_TEST_MLX_LM"

// TestRealEngine serves a tiny model with the real mlx_lm server, if there is
// one to serve with.
func TestRealEngine(t *testing.T) {
	version := os.Getenv(realEnv)
	if version == "" {
		t.Skip(realEnv + " does not name an environment with mlx_lm")
	}
	model, empty := filepath.Join(t.TempDir(), "tiny"), t.TempDir()
	if err := tinymodel.Write(model); err != nil {
		t.Fatal(err)
	}
	profile := bundle.Profile{
		Module: "mlx_lm", Args: []string{"server", "--model", "{model.dir}", "--host", "{host}", "--port", "{port}"},
		Env:    map[string]string{"MLX_DISABLE_COMPILE": "1", "HF_HUB_OFFLINE": "1"},
		Health: "/health", Names: bundle.NamesRewrite, Endpoints: []string{"/v1/chat/completions", "/v1/completions"},
		Scratch: []string{"HF_HUB_CACHE"}, Ready: bundle.Duration(2 * time.Minute),
	}
	manager := proxy.NewManager(proxy.ManagerConfig{
		Engine: "mlx-lm", VersionDir: version, Profile: profile, LogDir: t.TempDir(),
		Resolve: func(_ context.Context, id string) (string, []string, error) {
			if id == "ai/empty:latest" {
				return empty, nil, nil
			}
			return model, nil, nil
		},
	})
	b := &bench{manager: manager}
	server := httptest.NewServer(proxy.New(proxy.Options{Backends: manager, Endpoints: profile.Endpoints, Models: proxy.ModelsFunc(func(context.Context) ([]proxy.Model, error) {
		return []proxy.Model{{ID: "ai/tiny:latest"}, {ID: "ai/empty:latest"}}, nil
	})}))
	defer server.Close()
	b.url = server.URL
	for _, body := range []string{
		`{"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}`,
		`{"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, "stream": true, "stream_options": {}}`,
		`{"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "stream": true, "stream_options": {"include_usage": true}}`,
	} {
		begin := time.Now()
		status, answer := b.post(t, "/v1/chat/completions", body)
		t.Logf("%s: %d\n%s", time.Since(begin).Round(time.Millisecond), status, answer)
		if status != 200 || !strings.Contains(answer, `"model": "tiny"`) || strings.Contains(body, "stream") && !strings.Contains(answer, "data: [DONE]") {
			t.Error("not the answer that was wanted")
		}
	}
	begin := time.Now()
	status, answer := b.post(t, "/v1/chat/completions", `{"model": "ai/empty", "messages": []}`)
	t.Logf("empty model, %s: %d %s", time.Since(begin).Round(time.Millisecond), status, answer)
	if status != 503 || !strings.Contains(answer, "Error") {
		t.Error("the engine's failure is not told")
	}
	begin = time.Now()
	if err := manager.Close(t.Context()); err != nil {
		t.Error(err)
	}
	t.Logf("closed in %s", time.Since(begin).Round(time.Millisecond))
}
