// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
	"github.com/metalpack/metalpack/internal/hubtest"
	"github.com/metalpack/metalpack/internal/regtest"
)

// TestStranger: whoever is at the address is no hub, or cannot prove that it is
// this one. The message names the host and what to do.
func TestStranger(t *testing.T) {
	t.Parallel()
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>log in</html>")
	}))
	t.Cleanup(portal.Close)
	unknown := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(unknown.Close)
	for what, tt := range map[string]struct {
		endpoint string
		text     string
		hint     string
	}{
		"portal":              {portal.URL, "a portal", ""},
		"unknown certificate": {unknown.URL, "certificate", "--ca-file"},
		"no TLS":              {"https" + strings.TrimPrefix(portal.URL, "http"), "HTTP response to HTTPS client", "without TLS"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			rec := &regtest.Recorder{}
			c := &hub.Client{Endpoint: tt.endpoint, Events: rec.Emit, Wait: rec.Wait}
			_, err := c.Open(t.Context(), hub.Reference{Repo: name})
			e, ok := errors.AsType[*hub.Error](err)
			_, host, _ := strings.Cut(tt.endpoint, "://")
			if !ok || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), host) || !strings.Contains(e.Hint(), tt.hint) {
				t.Errorf("got %v", err)
			}
			if rec.Retries() != 0 {
				t.Errorf("events %s", rec)
			}
		})
	}
}

// TestQuota: a hub whose quota is used up says in RateLimit when it is filled. One
// that fails is told with the id by which its operators find the request.
func TestQuota(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t)
	h.Add(t, tiny())
	h.API.Add(regtest.Fault{Status: http.StatusTooManyRequests, Header: http.Header{"RateLimit": {`"api";r=0;t=42`}}, Times: 1})
	c, rec := client(h, "")
	if _, err := c.Open(t.Context(), hub.Reference{Repo: name}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]time.Duration{42 * time.Second}, rec.Waits); diff != "" {
		t.Error(diff)
	}
	h.API.Add(regtest.Fault{Status: http.StatusBadGateway, Header: http.Header{"X-Request-Id": {"req-7"}}, Times: 6})
	if _, err := c.Open(t.Context(), hub.Reference{Repo: name}); !errors.Is(err, bundle.ErrUnavailable) || !strings.Contains(err.Error(), `502, request id "req-7"`) {
		t.Errorf("got %v", err)
	}
	h.API.Add(regtest.Fault{Status: http.StatusTooManyRequests})
	_, err := c.Open(t.Context(), hub.Reference{Repo: name})
	if e, ok := errors.AsType[*hub.Error](err); !ok || !errors.Is(err, bundle.ErrUnavailable) || !strings.Contains(e.Hint(), "HF_TOKEN") {
		t.Errorf("got %v", err)
	}
}
