// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Caps and intervals of the readiness check.
const (
	maxAnswer     = 1 << 20
	pollInterval  = 100 * time.Millisecond
	healthTimeout = 2 * time.Second
	maxRefusals   = 3 // requests for a token that were answered 4xx
)

// prober asks a starting server whether it can serve.
type prober struct {
	url    string // http://host:port
	health string // path
	model  string // as the server knows it
	paths  []string
	client *http.Client
}

func newProber(cfg Config, url string) *prober {
	p := &prober{url: url, health: cfg.Profile.Health, model: cfg.RequestModel()}
	for _, path := range []string{"/v1/chat/completions", "/v1/completions"} {
		if len(cfg.Profile.Endpoints) == 0 || slices.Contains(cfg.Profile.Endpoints, path) {
			p.paths = append(p.paths, path)
		}
	}
	// No proxy: the server is on this machine.
	p.client = &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext, DisableKeepAlives: true}}
	return p
}

// status asks the health path once; 0 means no answer.
func (p *prober) status(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+p.health, http.NoBody)
	if err != nil {
		return 0
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close() // only the status counts
	return resp.StatusCode
}

// run returns nil when the server gave a token, and an error when it refuses
// to or ctx ends.
func (p *prober) run(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for refusals := 0; ; {
		if p.status(ctx) == http.StatusOK {
			err := p.token(ctx)
			if err == nil {
				return nil
			}
			var refused *refusedError
			if errors.As(err, &refused) && refused.status < 500 {
				if refusals++; refusals == maxRefusals {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// refusedError is an answer that is not a token.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("a request for one token was answered %d: %s", e.status, e.text)
}

// token asks for one token, by chat and then, for a model without a chat
// template, by completion. A server that offers neither is ready without.
func (p *prober) token(ctx context.Context) error {
	var first error
	for _, path := range p.paths {
		err := p.ask(ctx, path)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// ask sends one request with max_tokens 1.
func (p *prober) ask(ctx context.Context, path string) error {
	body := map[string]any{"model": p.model, "max_tokens": 1, "stream": false}
	if strings.HasSuffix(path, "/chat/completions") {
		body["messages"] = []map[string]string{{"role": "user", "content": "Hi"}}
	} else {
		body["prompt"] = "Hi"
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	var parsed struct {
		Choices []json.RawMessage `json:"choices"`
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(answer, &parsed) != nil || len(parsed.Choices) == 0 {
		return &refusedError{resp.StatusCode, excerpt(answer)}
	}
	return nil
}

// excerpt is the beginning of an answer on one line.
func excerpt(b []byte) string {
	s := strings.Join(strings.Fields(string(b)), " ")
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}
