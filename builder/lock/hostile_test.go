// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/bundle"
)

// TestHostileLocks (HOSTILE B1): a lock that does not name the bytes of every
// file, once and by a hash that is checked, is built by nobody.
func TestHostileLocks(t *testing.T) {
	t.Parallel()
	const whl = "a-1-py3-none-any.whl"
	hashes := func(h string) string {
		return fmt.Sprintf("[[packages]]\nname = \"a\"\nversion = \"1\"\nwheels = [{ path = %q, %s }]\n", whl, h)
	}
	archive := func(url string) string {
		return fmt.Sprintf("[[packages]]\nname = \"a\"\narchive = { url = %q, hashes = { sha256 = %q } }\n", url, sumA)
	}
	on := func(index string) string { return row("a", "index = \"https://"+index+"\"", whl) }
	for name, c := range map[string]struct{ rows, want string }{
		"missing hash":         {hashes("size = 3"), "packages[0] a: a file has no hashes"},
		"empty hashes":         {hashes("hashes = {}"), "packages[0] a: a file has no hashes"},
		"a weak hash":          {hashes(`hashes = { md5 = "00" }`), "a 1: a-1-py3-none-any.whl: no sha256"},
		"two hashes one wrong": {hashes(`hashes = { sha256 = "` + sumA + `", sha512 = "00" }`), "hashes besides sha256, which are not checked"},
		"one hash twice":       {hashes(`hashes = { sha256 = "` + sumA + `", sha256 = "` + sumB + `" }`), "sha256"},
		"short hash":           {hashes(`hashes = { sha256 = "` + sumA[1:] + `" }`), "want 64 lower-case hex digits"},
		"hash in upper case":   {hashes(`hashes = { sha256 = "` + strings.ToUpper(sumA) + `" }`), "want 64 lower-case hex digits"},
		"hash with a newline":  {hashes(`hashes = { sha256 = "` + sumA + `\n" }`), "want 64 lower-case hex digits"},
		"extra index":          {"[tool.uv]\nextra-index-url = [\"https://evil.test\"]\n[[index]]\nurl = \"https://evil.test\"\n", `unknown key "index`},
		"git":                  {"[[packages]]\nname = \"a\"\nvcs = { type = \"git\", url = \"https://git.test/a\", commit-id = \"c\" }\n", "a: a vcs row has no content hash"},
		"git in an archive":    {archive("git+https://git.test/" + whl), "git+https: is no address for a lock, only https"},
		"http":                 {archive("http://evil.test/" + whl), "http: is no address for a lock, only https"},
		"http by name":         {archive("http://localhost.evil.test/" + whl), "http: is no address for a lock, only https"},
		"file":                 {archive("file:///tmp/" + whl), "file: is no address for a lock, only https"},
		"sdist":                {"[[packages]]\nname = \"a\"\nversion = \"1\"\nsdist = { path = \"a-1.tar.gz\", hashes = { sha256 = \"" + sumA + "\" } }\n", "an sdist but no wheel, and nothing is compiled here"},
		"two indexes":          {on("one.test") + on("two.test"), "a: two rows apply"},
		"two versions":         {on("one.test") + strings.ReplaceAll(strings.ReplaceAll(on("two.test"), "a-1", "a-2"), `"1"`, `"2"`), "a: two rows apply"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := demo(t, "a\n", "{}")
			if err := os.WriteFile(r.PathOf("pylock.darwin.toml"), []byte(head+c.rows), 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, _, err := lock.ForRecipe(r, r.Targets[0])
			if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "pylock.darwin.toml") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want one that says %q", err, c.want)
			}
		})
	}
}

// TestHiddenOptions (HOSTILE B1): no requirement brings an index with it, where uv
// would read a line that others do not see.
func TestHiddenOptions(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ requirements, want string }{
		"a line":               {"a\n--extra-index-url https://evil.test\n", "requirements.in:2: option lines"},
		"short":                {"a\n  -i https://evil.test\n", "requirements.in:2: option lines"},
		"a file":               {"-r other.in\na\n", "requirements.in:1: option lines"},
		"continued":            {"a \\\n--extra-index-url https://evil.test\n", "requirements.in:2: option lines"},
		"form feed":            {"a\n\f--extra-index-url https://evil.test\n", "requirements.in:2: option lines"},
		"carriage return":      {"a\r--extra-index-url https://evil.test\n", "requirements.in:1: a carriage return"},
		"behind a comment":     {"b\na # x\r--extra-index-url https://evil.test\n", "requirements.in:2: a carriage return"},
		"two carriage returns": {"a\r\r\n--extra-index-url https://evil.test\n", "requirements.in:1: a carriage return"},
		"byte order mark":      {"\ufeff--extra-index-url https://evil.test\na\n", "requirements.in:1: a carriage return without a line feed, or a byte order mark"},
	} {
		r := demo(t, c.requirements, "{}")
		tg, err := lock.ForTarget(r.Targets[0])
		if err != nil {
			t.Fatal(err)
		}
		uv := &fakeUV{output: head}
		_, err = lock.Resolve(t.Context(), lock.UV{Runner: uv}, r, tg, lock.ResolveOptions{})
		if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), c.want) || len(uv.calls) != 0 {
			t.Errorf("%s: got %v, want one that says %q; uv was called %d times", what, err, c.want, len(uv.calls))
		}
		text := strings.Replace(c.requirements, "a", "a==1 --hash=sha256:"+sumA, 1)
		if _, err := lock.Convert(t.Context(), lock.UV{Runner: uv}, demo(t, "a\n", "{}"), tg, "requirements.txt", []byte(text), lock.ResolveOptions{}); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "requirements.txt:") || len(uv.calls) != 0 {
			t.Errorf("%s, with hashes: got %v; uv was called %d times", what, err, len(uv.calls))
		}
	}
}
