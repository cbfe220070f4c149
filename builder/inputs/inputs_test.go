// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
)

func digest(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// content is n bytes that differ by seed.
func content(seed string, n int) []byte {
	return bytes.Repeat([]byte(seed), n/len(seed)+1)[:n]
}

func wheel(name string, data []byte) inputs.Want {
	return inputs.Want{Name: name, Version: "1", File: name + "-1-py3-none-any.whl", SHA256: digest(data), Size: int64(len(data))}
}

func linux(t *testing.T) *target.Target {
	t.Helper()
	tg, err := target.New(bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.35"}, "3.12.16")
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

// fakeUV answers with the files of an index.
type fakeUV struct {
	mu    sync.Mutex
	rows  string
	err   error
	asked []string
}

func (f *fakeUV) add(w inputs.Want, url string) {
	f.rows += fmt.Sprintf("[[packages]]\nname = %q\nversion = %q\nwheels = [{ url = %q, size = %d, hashes = { sha256 = %q } }]\n", w.Name, w.Version, url, w.Size, w.SHA256)
}

func (f *fakeUV) Run(_ context.Context, c lock.Command) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	req, err := os.ReadFile(filepath.Join(c.Dir, "requirements.in"))
	if err != nil {
		return nil, err
	}
	f.asked = append(f.asked, string(req)+strings.Join(c.Argv, " "))
	if f.err != nil {
		return nil, f.err
	}
	return nil, os.WriteFile(filepath.Join(c.Dir, "pylock.toml"), []byte("lock-version = \"1.0\"\ncreated-by = \"uv\"\n"+f.rows), 0o644)
}

func (f *fakeUV) find(context.Context) (lock.UV, error) { return lock.UV{Path: "uv", Runner: f}, nil }

// serve serves the data under / and /index/, "moved" only under the latter, and
// tells which paths were asked for, sorted.
func serve(t *testing.T, data map[string][]byte) (*httptest.Server, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/index"), "/")
		if data[name] == nil || r.URL.Path == "/moved" {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data[name]))
	}))
	t.Cleanup(srv.Close)
	return srv, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(slices.Values(asked))
	}
}

func TestSearchOrder(t *testing.T) {
	t.Parallel()
	data := map[string][]byte{}
	for _, n := range []string{"cached", "linked", "owned", "moved", "indexed"} {
		data[n] = content(n, 3<<20)
	}
	srv, asked := serve(t, data)
	cache := inputs.NewCache(t.TempDir())
	links := t.TempDir()
	uv := new(fakeUV)
	var wants []inputs.Want
	for _, n := range []string{"cached", "linked", "owned", "moved", "indexed"} {
		w := wheel(n, data[n])
		w.Target = linux(t)
		switch n {
		case "cached":
			if _, err := cache.Put(t.Context(), w.SHA256, w.Size, bytes.NewReader(data[n])); err != nil {
				t.Fatal(err)
			}
		case "linked":
			if err := os.WriteFile(filepath.Join(links, w.File), data[n], 0o644); err != nil {
				t.Fatal(err)
			}
		case "owned", "moved":
			w.URL = srv.URL + "/" + n
		}
		if n == "moved" || n == "indexed" {
			uv.add(w, srv.URL+"/index/"+n)
		}
		wants = append(wants, w)
	}
	f := &inputs.Fetcher{Cache: cache, FindLinks: []string{filepath.Join(links, "nope"), links}, UV: uv.find}
	paths, err := f.Fetch(t.Context(), append(wants, wants[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wants {
		got, err := os.ReadFile(paths[w.SHA256])
		if err != nil || digest(got) != w.SHA256 {
			t.Errorf("%s: %v", w.File, err)
		}
		if info, err := os.Stat(paths[w.SHA256]); err != nil || info.Mode() != 0o444 {
			t.Errorf("%s: %v, %v", w.File, info.Mode(), err)
		}
	}
	if got := asked(); !slices.Equal(got, []string{"/index/indexed", "/index/moved", "/moved", "/owned"}) {
		t.Errorf("asked the server for %q", got)
	}
	if len(uv.asked) != 1 || !strings.HasPrefix(uv.asked[0], "moved==1\nindexed==1\n") || !strings.Contains(uv.asked[0], "--python-platform x86_64-manylinux_2_35") || !strings.Contains(uv.asked[0], "--no-deps") {
		t.Errorf("asked uv %q", uv.asked)
	}
	// Now everything is in the cache.
	srv.Close()
	f = &inputs.Fetcher{Cache: cache, Offline: true}
	if _, err := f.Fetch(t.Context(), wants); err != nil {
		t.Error(err)
	}
}

func TestMismatchIsNotKept(t *testing.T) {
	t.Parallel()
	want, wrong := content("right", 2<<20), content("wrong", 2<<20)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(wrong) }))
	defer srv.Close()
	links := t.TempDir()
	w := wheel("demo", want)
	if err := os.WriteFile(filepath.Join(links, w.File), wrong, 0o644); err != nil {
		t.Fatal(err)
	}
	short := t.TempDir()
	if err := os.WriteFile(filepath.Join(short, w.File), wrong[:10], 0o644); err != nil {
		t.Fatal(err)
	}
	byURL := w
	byURL.URL = srv.URL
	for name, c := range map[string]struct {
		want  inputs.Want
		links string
		got   string
	}{"url": {byURL, "", digest(wrong)}, "directory": {w, links, digest(wrong)}, "size": {w, short, digest(wrong[:10])}} {
		cache := inputs.NewCache(t.TempDir())
		f := &inputs.Fetcher{Cache: cache, FindLinks: []string{c.links}}
		_, err := f.Fetch(t.Context(), []inputs.Want{c.want})
		if !errors.Is(err, bundle.ErrMismatch) {
			t.Errorf("%s: got %v, want ErrMismatch", name, err)
			continue
		}
		for _, part := range []string{"demo 1", w.File, w.SHA256, c.got} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not name %s", name, err, part)
			}
		}
		if ok, err := cache.Verify(t.Context(), w.SHA256); ok || err != nil {
			t.Errorf("%s: kept: %v", name, err)
		}
		if left, _ := filepath.Glob(filepath.Join(cache.Dir(), "partial", "*")); len(left) > 0 {
			t.Errorf("%s: left %q", name, left)
		}
	}
}

func TestMissingNamesEverything(t *testing.T) {
	t.Parallel()
	a, b := wheel("aaa", []byte("a")), wheel("bbb", []byte("b"))
	a.Target, b.Target = linux(t), linux(t)
	cpython := inputs.Want{Name: "cpython", Version: "3.12.16", File: "cpython.tar.gz", SHA256: digest([]byte("c"))}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	down := cpython
	down.URL = gone.URL + "/secret-path/cpython.tar.gz"
	for name, c := range map[string]struct {
		f  inputs.Fetcher
		is error
	}{
		"offline":   {inputs.Fetcher{Offline: true}, bundle.ErrUnreachable},
		"no uv":     {inputs.Fetcher{UV: func(context.Context) (lock.UV, error) { return lock.UV{}, lock.ErrNoUV }}, lock.ErrNoUV},
		"uv fails":  {inputs.Fetcher{UV: (&fakeUV{err: errors.New("failed to fetch: `https://u:secret@index.example/x`")}).find}, bundle.ErrUnreachable},
		"not there": {inputs.Fetcher{UV: new(fakeUV).find}, bundle.ErrNotFound},
		"no index":  {inputs.Fetcher{}, bundle.ErrNotFound},
	} {
		c.f.Cache, c.f.Wait = inputs.NewCache(t.TempDir()), noWait
		_, err := c.f.Fetch(t.Context(), []inputs.Want{a, b, down})
		var missing *inputs.MissingError
		if !errors.Is(err, c.is) || !errors.As(err, &missing) || len(missing.Missing) != 3 {
			t.Errorf("%s: got %v, want %v", name, err, c.is)
			continue
		}
		for _, w := range missing.Missing {
			if !strings.Contains(err.Error(), w.File) || !strings.Contains(err.Error(), w.SHA256) {
				t.Errorf("%s: %q does not name %s", name, err, w.File)
			}
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q shows an address", name, err)
		}
	}
}

func TestBadWants(t *testing.T) {
	t.Parallel()
	good := wheel("demo", []byte("x"))
	for name, change := range map[string]func(*inputs.Want){
		"file": func(w *inputs.Want) { w.File = "../x" }, "sub": func(w *inputs.Want) { w.File = "a/b" },
		"sum": func(w *inputs.Want) { w.SHA256 = "AB" }, "size": func(w *inputs.Want) { w.Size = -1 },
	} {
		w := good
		change(&w)
		if _, err := (&inputs.Fetcher{Cache: inputs.NewCache(t.TempDir())}).Fetch(t.Context(), []inputs.Want{w}); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
