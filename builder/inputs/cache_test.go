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
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/google/go-cmp/cmp"

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
	var notes []string
	f := &inputs.Fetcher{Cache: cache, Events: func(e bundle.Event) {
		if e.Kind == bundle.EventNote {
			notes = append(notes, e.Reason)
		}
	}}
	if _, err := f.Fetch(t.Context(), []inputs.Want{w}); err != nil {
		t.Fatal(err)
	}
	if ok, err := cache.Verify(t.Context(), w.SHA256); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if d := cmp.Diff([]string{w.File + ": the copy in the cache was damaged and has been removed"}, notes); d != "" {
		t.Error(d)
	}
}

// A file that was found right is not read again until anything about it
// changes; Rehash reads it in any case.
func TestVerifyRemembers(t *testing.T) {
	t.Parallel()
	data := content("remember ", 1<<16)
	for name, c := range map[string]struct {
		change func(t *testing.T, path string)
		sound  bool
	}{
		"nothing":   {func(*testing.T, string) {}, true},
		"touched":   {func(t *testing.T, p string) { t.Helper(); check(t, os.Chtimes(p, time.Time{}, time.Unix(1, 0))) }, true},
		"no record": {func(t *testing.T, p string) { t.Helper(); check(t, os.Remove(p+".verified")) }, true},
		"junk": {func(t *testing.T, p string) {
			t.Helper()
			check(t, os.WriteFile(p+".verified", []byte("1 2\n"), 0o644))
		}, true},
		"altered": {func(t *testing.T, p string) {
			t.Helper()
			info, err := os.Stat(p)
			check(t, errors.Join(err, os.Chmod(p, 0o644), os.WriteFile(p, content("remember?", 1<<16), 0o644)))
			check(t, errors.Join(os.Chmod(p, 0o444), os.Chtimes(p, info.ModTime(), info.ModTime())))
		}, false},
		"replaced": {func(t *testing.T, p string) {
			t.Helper()
			check(t, errors.Join(os.WriteFile(p+".new", content("remember!", 1<<16), 0o444), os.Rename(p+".new", p)))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cache := inputs.NewCache(t.TempDir())
			path, err := cache.Put(t.Context(), digest(data), 0, bytes.NewReader(data))
			check(t, err)
			if _, err := os.Stat(path + ".verified"); err != nil {
				t.Error(err)
			}
			c.change(t, path)
			for range 2 {
				if ok, err := cache.Verify(t.Context(), digest(data)); ok != c.sound || err != nil {
					t.Errorf("Verify: %v, %v", ok, err)
				}
			}
			if ok, err := cache.Rehash(t.Context(), digest(data)); ok != c.sound || err != nil {
				t.Errorf("Rehash: %v, %v", ok, err)
			}
			if _, err := os.Stat(path + ".verified"); (err == nil) != c.sound {
				t.Errorf("record: %v", err)
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkVerify looks at as many inputs as an environment has.
func BenchmarkVerify(b *testing.B) {
	cache := inputs.NewCache(b.TempDir())
	var sums []string
	for i := range 161 {
		data := content(strconv.Itoa(i), 1<<10)
		sums = append(sums, digest(data))
		if _, err := cache.Put(b.Context(), digest(data), 0, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for _, sum := range sums {
			if ok, err := cache.Verify(b.Context(), sum); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
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
