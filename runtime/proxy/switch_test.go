// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metalpack/metalpack/runtime/launch/launchtest"
	"github.com/metalpack/metalpack/runtime/proxy"
)

// TestSingleFlightAndSwitch: many first requests start one engine; another
// model replaces it.
func TestSingleFlightAndSwitch(t *testing.T) {
	t.Parallel()
	b := start(t, launchtest.Sound)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if status, answer := b.post(t, "/v1/completions", `{"model": "tiny"}`); status != http.StatusOK {
				t.Errorf("%d %s", status, answer)
			}
		})
	}
	wg.Wait()
	if b.starts() != 1 || b.manager.Loaded() != tiny {
		t.Errorf("%d starts, loaded %q", b.starts(), b.manager.Loaded())
	}
	if status, answer := b.post(t, "/v1/completions", `{"model": "localhost:5000/ai/other:v1"}`); status != http.StatusOK {
		t.Errorf("other: %d %s", status, answer)
	}
	if b.starts() != 2 || b.manager.Loaded() != other {
		t.Errorf("%d starts, loaded %q", b.starts(), b.manager.Loaded())
	}
}

// TestPulledAnew: a name that has gone to another model is served by another
// engine.
func TestPulledAnew(t *testing.T) {
	t.Parallel()
	b := start(t, launchtest.Sound)
	for n, key := range []string{"old", "new", "new"} {
		b.mu.Lock()
		b.key = key
		b.mu.Unlock()
		if status, answer := b.post(t, "/v1/completions", `{"model": "tiny"}`); status != http.StatusOK {
			t.Errorf("%d %s", status, answer)
		}
		if want := min(n+1, 2); b.starts() != want || b.manager.Loaded() != key {
			t.Errorf("%d starts, loaded %q", b.starts(), b.manager.Loaded())
		}
	}
}

// TestSwitchWaits: a model in use is not taken away.
func TestSwitchWaits(t *testing.T) {
	t.Parallel()
	b := start(t, launchtest.Sound)
	lease, err := b.manager.Acquire(t.Context(), tiny)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.manager.Acquire(ctx, other); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, lease.URL+"/health", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := do(t, http.DefaultClient, req); status != http.StatusOK || b.starts() != 1 {
		t.Errorf("while it is in use: %d %s, %d starts", status, answer, b.starts())
	}
	lease.Release()
	second, err := b.manager.Acquire(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	second.Release()
	if err := b.manager.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := b.manager.Acquire(t.Context(), tiny); !errors.Is(err, proxy.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestDead: nobody is sent to an engine whose end is known and not yet told.
func TestDead(t *testing.T) {
	t.Parallel()
	b := start(t, launchtest.Sound)
	lease, err := b.manager.Acquire(t.Context(), tiny)
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock() // the manager waits to tell of the end
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, lease.URL+"/v1/completions", strings.NewReader(`{"prompt": "die"}`))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Errorf("it answers %s", resp.Status)
	}
	if lease.Cause() == nil {
		t.Error("it lives")
	}
	lease.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.manager.Acquire(ctx, tiny); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	b.mu.Unlock()
	if _, err := b.manager.Acquire(t.Context(), tiny); !errors.Is(err, proxy.ErrBackOff) {
		t.Errorf("once it is told: %v", err)
	}
}
