// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
	"github.com/metalpack/metalpack/internal/hubtest"
)

const gitID = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"

// row is an entry of the hub's list.
func row(path, size, more string) string {
	return fmt.Sprintf("{\"type\":\"file\",\"path\":%q,\"size\":%s,\"oid\":%q%s}", path, size, gitID, more)
}

// TestHostileList: what a hub must not say about the files of a commit.
func TestHostileList(t *testing.T) {
	t.Parallel()
	lfs := func(oid string, size int) string { return fmt.Sprintf(",\"lfs\":{\"oid\":%q,\"size\":%d}", oid, size) }
	sum := strings.Repeat("a", 64)
	tests := map[string]struct{ list, text string }{
		"parent":            {"[" + row("../x.json", "1", "") + "]", "not a clean path"},
		"absolute":          {"[" + row("/etc/x.json", "1", "") + "]", "absolute"},
		"backslash":         {"[" + row(`..\x.json`, "1", "") + "]", "backslash"},
		"device":            {"[" + row("con.json", "1", "") + "]", "device name"},
		"twice":             {"[" + row("a", "1", "") + "," + row("a", "1", "") + "]", "twice"},
		"negative size":     {"[" + row("a", "-1", "") + "]", "size -1"},
		"huge size":         {"[" + row("a", "9223372036854775807", "") + "]", "size 9223372036854775807"},
		"size overflows":    {"[" + row("a", "9223372036854775808", "") + "]", "JSON"},
		"two sizes":         {"[" + row("a", "1", lfs(sum, 2)) + "]", "size 1, in LFS 2"},
		"short sha256":      {"[" + row("a", "1", lfs("aa", 1)) + "]", "sha256"},
		"upper-case sha256": {"[" + row("a", "1", lfs(strings.ToUpper(sum), 1)) + "]", "sha256"},
		"no git id":         {"[{\"type\":\"file\",\"path\":\"a\",\"size\":1}]", "git id"},
		"unknown type":      {"[{\"type\":\"symlink\",\"path\":\"a\",\"size\":1}]", "type \"symlink\""},
		"key twice":         {"[{\"type\":\"file\",\"path\":\"a\",\"path\":\"b\",\"size\":1}]", "twice"},
		"no list":           {"{\"error\":\"x\"}", "JSON"},
		"half":              {"[" + row("a", "1", ""), "JSON"},
		"deep":              {strings.Repeat("[", 10_000), "JSON"},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h, c := fresh(t)
			h.Handle("/api/models/"+name+"/tree/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(test.list)) })
			r, err := c.Open(t.Context(), hub.Reference{Repo: name})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Files(t.Context()); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v, want %q", err, test.text)
			}
		})
	}
}

func fresh(t *testing.T) (*hubtest.Hub, *hub.Client) {
	t.Helper()
	h := hubtest.New(t)
	h.Add(t, tiny())
	c, _ := client(h, token)
	return h, c
}

// TestHostilePages: lists without end, and lists that lead elsewhere.
func TestHostilePages(t *testing.T) {
	t.Parallel()
	next := func(w http.ResponseWriter, to string) { w.Header().Set("Link", "<"+to+">; rel=\"next\"") }
	tests := map[string]struct {
		handler  http.HandlerFunc
		text     string
		requests int
	}{
		"pages for ever": {func(w http.ResponseWriter, r *http.Request) {
			next(w, r.URL.Path+"?cursor=x")
			_, _ = w.Write([]byte("[]"))
		}, "more than 128 pages", hub.MaxPages},
		"rows for ever": {func(w http.ResponseWriter, r *http.Request) {
			next(w, r.URL.Path+"?cursor=x")
			_, _ = w.Write([]byte("[" + strings.Repeat("{\"type\":\"directory\",\"path\":\"a\"},", 9999) + "{\"type\":\"directory\",\"path\":\"a\"}]"))
		}, "more than 32768 files", 4},
		"another host": {func(w http.ResponseWriter, _ *http.Request) {
			next(w, "https://other.example/api/models?secret=1")
			_, _ = w.Write([]byte("[]"))
		}, "on https://other.example: invalid", 1},
		"a redirect to another host": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://other.example/x", http.StatusFound)
		}, "where its API cannot be", 1},
		"a gigabyte": {func(w http.ResponseWriter, _ *http.Request) {
			blank := []byte(strings.Repeat(" ", 1<<20))
			for range 1 << 10 {
				if _, err := w.Write(blank); err != nil {
					return
				}
			}
		}, "longer than 16777216 bytes", 1},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h, c := fresh(t)
			h.Handle("/api/models/"+name+"/tree/", test.handler)
			r, err := c.Open(t.Context(), hub.Reference{Repo: name})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Files(t.Context()); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want %q", err, test.text)
			}
			if n := len(h.API.Requests("", "/tree/")); n != test.requests {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestHostileInfo: what a hub must not say about a model.
func TestHostileInfo(t *testing.T) {
	t.Parallel()
	for what, info := range map[string]string{
		"no commit":    "{}",
		"short commit": "{\"sha\":\"abc\"}",
		"a path":       "{\"sha\":\"../../../../../../../../../../../../../../etc\"}",
		"a bad name":   "{\"id\":\"../x\",\"sha\":\"" + gitID + "\"}",
		"no JSON":      "<html>",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h, c := fresh(t)
			h.Handle("/api/models/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(info)) })
			if r, err := c.Open(t.Context(), hub.Reference{Repo: name}); !errors.Is(err, bundle.ErrInvalid) || r != nil {
				t.Errorf("got %v", err)
			}
		})
	}
	h, c := fresh(t)
	h.Handle("/api/models/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{\"sha\":\"" + gitID + "\"}")) })
	if _, err := c.Open(t.Context(), hub.Reference{Repo: name, Revision: strings.Repeat("1", 40)}); !errors.Is(err, bundle.ErrMismatch) {
		t.Errorf("another commit than asked for: %v", err)
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	var in []hub.File
	for _, p := range []string{
		"config.json", "model.safetensors", "model-00001-of-00002.safetensors", "tokenizer.model", "vocab.txt", "a.tiktoken", "b.jsonl", "chat_template.jinja", "code.py",
		"README.md", "LICENSE", "LICENSE.pdf", "USE_POLICY.md", "sub/c.json", "tiktoken.model", "README_zh.md",
		"MODEL_LICENSE", "LICENSE-2.0", "LICENSE_MODEL", "Notice", "THIRD_PARTY_NOTICES.txt", "Llama License.md", "COPYING.LESSER",
		"consolidated.safetensors", "weights.npz", "pytorch_model.bin", ".gitattributes", ".cache/d.json", "sub/README.md", "onnx/model.safetensors", "sub/tokenizer.model", "sub/tiktoken.model", "sub/LICENSE", "about.md", "license.gguf", "model.gguf",
	} {
		in = append(in, hub.File{Path: p})
	}
	wanted, left := hub.Select(in)
	if diff := cmp.Diff(in[:23], wanted); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(in[23:], left); diff != "" {
		t.Error(diff)
	}
}
