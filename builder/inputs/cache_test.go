// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/bundle"
)

func TestDamagedCacheHeals(t *testing.T) {
	t.Parallel()
	data := content("heal ", 1<<20)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer srv.Close()
	w := wheel("demo", data)
	w.URL, w.Size = srv.URL, 0 // size unknown
	cache := inputs.NewCache(t.TempDir())
	if err := os.MkdirAll(filepath.Dir(cache.Path(w.SHA256)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cache.Path(w.SHA256), data[1:], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (&inputs.Fetcher{Cache: cache}).Fetch(t.Context(), []inputs.Want{w}); err != nil {
		t.Fatal(err)
	}
	if ok, err := cache.Verify(t.Context(), w.SHA256); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestPut(t *testing.T) {
	t.Parallel()
	cache := inputs.NewCache(t.TempDir())
	data := content("put ", 1<<20)
	var g errgroup.Group
	for range 8 { // all at once: one after the other by the lock of the digest
		g.Go(func() error {
			_, err := inputs.NewCache(cache.Dir()).Put(t.Context(), digest(data), 0, bytes.NewReader(data))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int64{"short": 2 << 20, "long": 1 << 10} {
		if _, err := inputs.NewCache(t.TempDir()).Put(t.Context(), digest(data), size, bytes.NewReader(data)); !errors.Is(err, bundle.ErrMismatch) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := cache.Put(t.Context(), "../../etc/passwd", 0, bytes.NewReader(data)); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}
