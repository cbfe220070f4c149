// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/metalpack/metalpack/builder"
	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
	"github.com/metalpack/metalpack/recipes"
)

// wheelFile is a small wheel with its hash.
type wheelFile struct {
	name string
	data []byte
	sum  string
}

func makeWheel(name, body string) wheelFile {
	data := wheeltest.Build(name, "1.0", map[string]string{name + ".py": body}, wheeltest.Options{})
	return withSum(wheeltest.FileName(name, "1.0", wheeltest.Options{}), data)
}

func withSum(name string, data []byte) wheelFile {
	sum := sha256.Sum256(data)
	return wheelFile{name, data, hex.EncodeToString(sum[:])}
}

// decidingRecipe writes a recipe with every kind of decision.
func decidingRecipe(t *testing.T, own, extra, direct wheelFile, address string) (dir string) {
	t.Helper()
	locked, python := makeWheel("demo", "locked"), withSum("cpython.tar", wheeltest.Interpreter("linux", "amd64", nil))
	dir = t.TempDir()
	for _, w := range []wheelFile{own, extra, python} {
		write(t, dir, "wheels/"+w.name, w.data)
	}
	write(t, dir, "requirements.in", []byte("demo\n"))
	write(t, dir, "pylock.linux.toml", fmt.Appendf(nil, `lock-version = "1.0"
created-by = "hand"
[[packages]]
name = "demo"
version = "1.0"
wheels = [{ path = "wheels/%s", hashes = { sha256 = "%s" } }]
[[packages]]
name = "unwanted"
version = "1.0"
wheels = [{ path = "wheels/unwanted-1.0-py3-none-any.whl", hashes = { sha256 = "%s" } }]
`, locked.name, locked.sum, locked.sum))
	write(t, dir, "recipe.yaml", fmt.Appendf(nil, `version: 1
name: demo
release: "1.0"
requirements: requirements.in
targets:
  - {platform: linux/amd64, glibc: "2.35", lock: pylock.linux.toml, interpreter: {version: 3.12.3, file: %s, sha256: %s}}
wheels:
  exclude: [{package: unwanted, reason: nobody imports it}]
  substitute: [{package: demo, file: %s, sha256: %s, reason: built from a commit}]
  extra:
    - {file: %s, sha256: %s, reason: on no index}
    - {file: %s, url: %q, sha256: %s, reason: on no index}
    - {file: mac-1.0-py3-none-any.whl, sha256: %s, reason: elsewhere, on: darwin}
  waive: [{package: demo, rule: stdlib, path: demo.py, reason: a test}]
`, python.name, python.sum, own.name, own.sum, extra.name, extra.sum, direct.name, address, direct.sum, extra.sum))
	return dir
}

// TestDecisionsReachTheBuild follows exclude, substitute, extra and waive from
// the recipe's file through lock and fetch to the builder's plan.
func TestDecisionsReachTheBuild(t *testing.T) {
	t.Parallel()
	own, extra, direct := makeWheel("demo", "own"), makeWheel("extra", "1"), makeWheel("direct", "1")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(direct.data) }))
	t.Cleanup(server.Close)
	plan, err := builder.NewPlan(t.Context(), inputOf(t, decidingRecipe(t, own, extra, direct, server.URL+"/"+direct.name)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plan.Close() })
	want := []bundle.Package{
		{Name: "demo", Version: "1.0", File: own.name, SHA256: own.sum},
		{Name: "direct", Version: "1.0", File: direct.name, SHA256: direct.sum},
		{Name: "extra", Version: "1.0", File: extra.name, SHA256: extra.sum},
	}
	if d := cmp.Diff(want, plan.Environment.Packages, cmpopts.IgnoreFields(bundle.Package{}, "Layer")); d != "" {
		t.Error(d)
	}
	decisions := []bundle.Decision{
		{Kind: "exclude", Package: "unwanted", Reason: "nobody imports it"},
		{Kind: "extra", Package: "direct", Path: direct.name, Reason: "on no index"},
		{Kind: "extra", Package: "extra", Path: extra.name, Reason: "on no index"},
		{Kind: "substitute", Package: "demo", Path: own.name, Reason: "built from a commit"},
		{Kind: "waive", Package: "demo", Path: "demo.py", Rule: "stdlib", Reason: "a test"},
	}
	if d := cmp.Diff(decisions, plan.Environment.Decisions); d != "" {
		t.Error(d)
	}
	for name, want := range map[string]bool{"demo": false, "extra": false, "direct": true} {
		p := "lib/python3.12/site-packages/" + name + "-1.0.dist-info/direct_url.json"
		if _, ok := plan.Tree.Find(p); ok != want {
			t.Errorf("%s is there: %v", p, ok)
		}
	}
}

// inputOf takes a recipe as far as the build verb does before it builds.
func inputOf(t *testing.T, dir string) builder.Input {
	t.Helper()
	var stderr strings.Builder
	a := &app{Console: ui.Console{Env: &edge.Env{Stdout: io.Discard, Stderr: &stderr, Getenv: os.Getenv}}, cacheDir: t.TempDir()}
	r, err := recipes.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	all, err := gather(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.fetch(t.Context(), r, all, inputOptions{}); err != nil {
		t.Fatal(err, stderr.String())
	}
	in, err := a.builderInput(r, all[0])
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	p := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCacheHint: a cache that cannot be made, below a directory that others own
// too, is told from anything else that is forbidden.
func TestCacheHint(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	cache := inputs.NewCache(filepath.Join(home, ".cache", "metalpack", "inputs"))
	for path, want := range map[string]bool{
		home:                                    true,
		filepath.Join(home, ".cache"):           true,
		filepath.Join(cache.Dir(), "partial"):   true,
		filepath.Join(t.TempDir(), "wheel.whl"): false,
	} {
		err := fmt.Errorf("cache: %w", &fs.PathError{Op: "mkdir", Path: path, Err: syscall.EACCES})
		if got := edge.Hinted(cacheHint(err, cache)); got != want {
			t.Errorf("%s: a hint of the cache %v, want %v", path, got, want)
		}
	}
}
