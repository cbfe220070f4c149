// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/bundle"
)

var commit = strings.Repeat("0123456789", 4)

// TestCommitRequirements: what names a git commit in full is taken, whatever
// else names version control is refused with its line.
func TestCommitRequirements(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		"a @ git+https://git.test/a":                                  `revision "" is no full commit`,
		"a @ git+https://git.test/a@v1.0":                             `revision "v1.0" is no full commit, which alone always means the same files; 'git ls-remote https://git.test/a' lists them`,
		"a @ git+https://git.test/a@" + commit[:39]:                   "is no full commit",
		"a @ git+https://git.test/a@" + strings.ToUpper(commit) + "A": "is no full commit",
		"a @ git+https://user:secret@git.test/a@" + commit:            "credentials do not belong",
		"a @ git+https://token@git.test/a@" + commit:                  "credentials do not belong",
		"a @ git+ssh://git:secret@git.test/a@" + commit:               "credentials do not belong",
		"a @ git+http://git.test/a@" + commit:                         "git+http is not accepted",
		"a @ git+ext://sh/a@" + commit:                                "git+ext is not accepted",
		"a @ git+https://git.test/a@" + commit + "#egg=a":             "#egg=a is not read",
		"a @ git+https://git.test/a@" + commit + "#subdirectory=../b": "is not read",
		"a @ git+https://git.test/a?x=y@" + commit:                    "want git+https://HOST/REPOSITORY@COMMIT",
		"a @ git+https:///a@" + commit:                                "want git+https://HOST/REPOSITORY@COMMIT",
		"git+https://git.test/a@" + commit:                            "want NAME @ git+https",
		"a @ hg+https://hg.test/a@" + commit:                          "hg is not read, only git",
		"a @ git+https://git.test/a@" + commit + " ; bad == 'x'":      "no marker variable",
	} {
		r := demo(t, "b\n"+line+"\n", "{}")
		tg, err := lock.ForTarget(r.Targets[0])
		if err != nil {
			t.Fatal(err)
		}
		_, err = lock.Resolve(t.Context(), lock.UV{Runner: &fakeUV{}}, r, tg, lock.ResolveOptions{Sources: &lock.Sources{}})
		if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "requirements.in:2: ") || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want one that says %q", line, err, says)
		}
	}
}

// workshop plays git and uv build.
type workshop struct {
	git   []string
	build []string
	fakeUV
}

func (w *workshop) Run(ctx context.Context, c lock.Command) ([]byte, error) {
	argv := c.Argv
	if i := slices.Index(argv, "sh"); argv[0] == "sh" && i >= 0 {
		argv = argv[4:] // sh -c '…' sh
	}
	switch {
	case argv[0] == "git":
		w.git = append(w.git, strings.Join(argv, " "))
		if slices.Contains(argv, "cat-file") {
			return nil, errors.New("exit status 128: fatal: Not a valid object name")
		}
		if slices.Contains(argv, "clone") {
			return nil, os.MkdirAll(argv[len(argv)-1], 0o755)
		}
		return nil, nil
	case argv[1] == "build":
		w.build = append(w.build, argv[len(argv)-1])
		if !slices.Contains(c.Env, "SOURCE_DATE_EPOCH=315619200") {
			return nil, errors.New("no date")
		}
		out := argv[slices.Index(argv, "--out-dir")+1]
		if err := os.MkdirAll(out, 0o755); err != nil {
			return nil, err
		}
		return nil, os.WriteFile(filepath.Join(out, "a-1.5-py3-none-any.whl"), []byte("made"), 0o644)
	}
	return w.fakeUV.Run(ctx, c)
}

// TestCommitOnNoBranch: a commit that a clone does not bring is asked for by
// name; a subdirectory is built there; two targets share one wheel.
func TestCommitOnNoBranch(t *testing.T) {
	t.Parallel()
	r := demo(t, "a[x] @ git+ssh://git@git.test/a.git@"+commit+"#subdirectory=py/a ; os_name == 'posix'\n", "{}")
	tg, err := lock.ForTarget(r.Targets[0])
	if err != nil {
		t.Fatal(err)
	}
	shop := &workshop{fakeUV: fakeUV{output: head + "[[packages]]\nname = \"a\"\nversion = \"1.5\"\narchive = { path = \"/x/a-1.5-py3-none-any.whl\", hashes = { sha256 = \"" + sumA + "\" } }\n"}}
	sources := &lock.Sources{Runner: shop}
	for range 2 {
		l, err := lock.Resolve(t.Context(), lock.UV{Path: "uv", Runner: shop}, r, tg, lock.ResolveOptions{Sources: sources})
		if err != nil {
			t.Fatal(err)
		}
		text := string(l.Encode())
		if again, err := lock.Parse("pylock.toml", []byte(text)); err != nil || string(again.Encode()) != text {
			t.Errorf("does not survive decoding: %v\n%s", err, text)
		}
		if want := `vcs = { type = "git", url = "ssh://git@git.test/a.git", requested-revision = "` + commit + `", commit-id = "` + commit + `", subdirectory = "py/a" }`; !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if len(shop.build) != 1 || !strings.HasSuffix(shop.build[0], filepath.FromSlash("/tree/py/a")) {
		t.Errorf("built %q", shop.build)
	}
	if !slices.Contains(shop.git, "git fetch --quiet origin "+commit) {
		t.Errorf("git %q", shop.git)
	}
	if got := shop.files["requirements.in"]; !strings.HasPrefix(got, "a[x] @ file:///") || !strings.HasSuffix(got, "/a-1.5-py3-none-any.whl\n") {
		t.Errorf("asked for %q", got)
	}
	if err := sources.Close(); err != nil {
		t.Error(err)
	}
}
