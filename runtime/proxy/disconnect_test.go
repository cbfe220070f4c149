// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/runtime/proxy"
)

// fixed is a backend at one address.
type fixed struct {
	url      string
	released chan struct{}
}

func (f *fixed) Loaded() string { return "" }

func (f *fixed) Acquire(context.Context, string) (*proxy.Lease, error) {
	return &proxy.Lease{URL: f.url, Model: "/m", Release: func() { close(f.released) }}, nil
}

// TestClientLeaves: events arrive as they are written, a client that goes away
// ends the engine's work, and its headers stay here.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	ended, secret := make(chan struct{}), make(chan string, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret <- r.Header.Get("Authorization") + r.Header.Get("Cookie")
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		if _, err := io.WriteString(w, "data: {\"model\": \"/m\"}\n\n"); err != nil {
			t.Error(err)
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
		close(ended)
	}))
	defer upstream.Close()
	backend := &fixed{url: upstream.URL, released: make(chan struct{})}
	server := httptest.NewServer(proxy.New(proxy.Options{
		Backends: backend, Endpoints: []string{"/v1/completions"},
		Models: proxy.ModelsFunc(func(context.Context) ([]proxy.Model, error) { return []proxy.Model{{ID: "ai/x:latest"}}, nil }),
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/completions", strings.NewReader(`{"stream": true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer key")
	req.Header.Set("Cookie", "a=b")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || line != "data: {\"model\": \"ai/x:latest\"}\n" {
		t.Errorf("first event %q, %v", line, err)
	}
	cancel()
	_ = resp.Body.Close()
	<-ended
	<-backend.released
	if s := <-secret; s != "" {
		t.Errorf("the engine saw %q", s)
	}
}

// TestEngineBreaksOff: an answer of a kind that has no place for an error is
// cut when the engine breaks off, so that nobody takes the half for the whole.
func TestEngineBreaksOff(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"audio/mpeg", "text/plain"} {
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			if _, err := io.WriteString(w, "half"); err != nil {
				t.Error(err)
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			panic(http.ErrAbortHandler)
		}))
		defer upstream.Close()
		backend := &fixed{url: upstream.URL, released: make(chan struct{})}
		server := httptest.NewServer(proxy.New(proxy.Options{
			Backends: backend, Endpoints: []string{"/v1/audio/speech"},
			Models: proxy.ModelsFunc(func(context.Context) ([]proxy.Model, error) { return []proxy.Model{{ID: "ai/x:latest"}}, nil }),
		}))
		defer server.Close()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/audio/speech", strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if string(data) != "half" || err == nil {
			t.Errorf("%s: got %q, %v: want half and an error", kind, data, err)
		}
		<-backend.released
	}
}
