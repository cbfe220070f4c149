// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/builder/wheel"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/recipes"
)

var (
	sumA = strings.Repeat("a", 64)
	sumB = strings.Repeat("b", 64)
)

func linux(t *testing.T) *target.Target {
	t.Helper()
	tg, err := target.New(bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.35"}, "3.12.16")
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

const head = "lock-version = \"1.0\"\ncreated-by = \"test\"\n"

// row is a package with wheels of the given file names, all of one sum.
func row(name, extra string, files ...string) string {
	var wheels []string
	for _, f := range files {
		wheels = append(wheels, fmt.Sprintf(`{ path = "wheels/%s", size = 3, hashes = { sha256 = "%s" } }`, f, sumA))
	}
	return fmt.Sprintf("[[packages]]\nname = %q\nversion = \"1\"\n%s\nwheels = [%s]\n", name, extra, strings.Join(wheels, ", "))
}

func TestSelect(t *testing.T) {
	t.Parallel()
	l, err := lock.Parse("x/pylock.test.toml", []byte(head+
		row("zed", "", "zed-1-py3-none-any.whl", "zed-1-cp312-cp312-manylinux_2_28_x86_64.whl")+
		row("mac", "marker = \"sys_platform == 'darwin'\"", "mac-1-py3-none-any.whl")+
		fmt.Sprintf("[[packages]]\nname = \"own\"\narchive = { url = \"https://example.org/own-2%%2Bcpu-py3-none-any.whl\", hashes = { sha256 = %q } }\n", sumB)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Select(linux(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []lock.Wheel{
		{Name: "own", Version: "2+cpu", File: "own-2+cpu-py3-none-any.whl", SHA256: sumB, URL: "https://example.org/own-2%2Bcpu-py3-none-any.whl", Direct: true, Origin: wheel.Origin{URL: "https://example.org/own-2%2Bcpu-py3-none-any.whl"}},
		{Name: "zed", Version: "1", File: "zed-1-cp312-cp312-manylinux_2_28_x86_64.whl", Size: 3, SHA256: sumA},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	file := "pylock.toml"
	for name, c := range map[string]struct {
		text, want string
		is         error
	}{
		"sdist":        {head + "[[packages]]\nname = \"a\"\nversion = \"1\"\nsdist = { name = \"a-1.tar.gz\", path = \"a\", hashes = { sha256 = \"x\" } }\n", "nothing is compiled", bundle.ErrInvalid},
		"vcs":          {head + "[[packages]]\nname = \"a\"\nvcs = { type = \"git\", url = \"u\", commit-id = \"c\" }\n", "no content hash", bundle.ErrInvalid},
		"directory":    {head + "[[packages]]\nname = \"a\"\ndirectory = { path = \".\" }\n", "names no bytes", bundle.ErrInvalid},
		"two sources":  {head + "[[packages]]\nname = \"a\"\ndirectory = { path = \".\" }\nvcs = { type = \"git\" }\n", "exactly one source", bundle.ErrInvalid},
		"no sha256":    {strings.ReplaceAll(head+row("a", "", "a-1-py3-none-any.whl"), "sha256", "md5"), "no sha256", bundle.ErrInvalid},
		"bad sha256":   {strings.ReplaceAll(head+row("a", "", "a-1-py3-none-any.whl"), sumA, "AA"), "64 lower-case", bundle.ErrInvalid},
		"no wheel":     {head + row("a", "", "a-1-cp313-cp313-win_amd64.whl", "a-1-cp312-cp312-macosx_11_0_arm64.whl"), "cp313-cp313-win_amd64, cp312-cp312-macosx_11_0_arm64", target.ErrNoWheel},
		"unset":        {head + row("a", "marker = \"platform_release > '1'\"", "a-1-py3-none-any.whl"), "platform_release is not known", bundle.ErrInvalid},
		"twice":        {head + row("a", "", "a-1-py3-none-any.whl") + row("a", "", "a-1-py3-none-any.whl"), "two rows", bundle.ErrInvalid},
		"other name":   {head + row("a", "", "b-1-py3-none-any.whl"), "another package", bundle.ErrInvalid},
		"other ver":    {head + row("a", "", "a-2-py3-none-any.whl"), "another package or version", bundle.ErrInvalid},
		"escape":       {head + row("a", "", ".."), "file name", bundle.ErrInvalid},
		"python":       {head + "requires-python = \">=3.13\"\n", "does not admit", bundle.ErrInvalid},
		"row python":   {head + row("a", "requires-python = \"<3.12\"", "a-1-py3-none-any.whl"), "does not admit", bundle.ErrInvalid},
		"environment":  {head + "environments = [\"sys_platform == 'darwin'\"]\n", "not for linux/amd64", bundle.ErrUnsupportedHost},
		"unknown key":  {head + "colour = 1\n", "3:1: unknown key \"colour\"", bundle.ErrInvalid},
		"unknown deep": {head + row("a", "colour = 1", "a-1-py3-none-any.whl"), "unknown key \"packages.colour\"", bundle.ErrInvalid},
		"major":        {strings.Replace(head, "1.0", "2.0", 1), "reads 1.x", bundle.ErrInvalid},
		"no creator":   {"lock-version = \"1.0\"\n", "created-by", bundle.ErrInvalid},
		"name":         {head + row("A_b", "", "a_b-1-py3-none-any.whl"), "not normalised", bundle.ErrInvalid},
		"no toml":      {"lock-version = ", "1:", bundle.ErrInvalid},
		"archive":      {head + "[[packages]]\nname = \"a\"\narchive = { url = \"https://example.org/a.zip\", hashes = { sha256 = \"" + sumA + "\" } }\n", "is no wheel", bundle.ErrInvalid},
	} {
		l, err := lock.Parse(file, []byte(c.text))
		if err == nil {
			_, err = l.Select(linux(t))
		}
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want one that says %q", name, err, c.want)
		}
	}
	if _, err := lock.Parse("pylock.a.b.toml", []byte(head)); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("file name: got %v", err)
	}
	if _, err := lock.Parse(file, []byte(strings.Replace(head, "1.0", "1.3", 1)+"colour = 1\n")); err != nil {
		t.Errorf("a newer minor version may have keys of its own: %v", err)
	}
}

func TestShippedLocks(t *testing.T) {
	t.Parallel()
	for _, name := range recipes.Names() {
		r, err := recipes.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, rt := range r.Targets {
			l, data, wheels, err := lock.ForRecipe(r, rt)
			if err != nil {
				t.Errorf("%s %s: %v", name, rt.Platform, err)
				continue
			}
			if diff := cmp.Diff(string(data), string(l.Encode())); diff != "" {
				t.Errorf("%s: not canonical:\n%s", rt.Lock, diff)
			}
			for line := range strings.Lines(string(data)) {
				if strings.Contains(line, "://") && !strings.HasPrefix(line, "archive = ") {
					t.Errorf("%s holds an address: %s", rt.Lock, line)
				}
			}
			if name == "mlx-lm" && len(wheels) != 38 {
				t.Errorf("%s: %d wheels", rt.Lock, len(wheels))
			}
			i := slices.IndexFunc(wheels, func(w lock.Wheel) bool { return w.Name == r.Name })
			if i >= 0 && wheels[i].Version != r.Release {
				t.Errorf("%s: release %s, the lock has %s", name, r.Release, wheels[i].Version)
			}
		}
	}
}

// fakeUV writes a lock in the place of uv and remembers how it was called.
type fakeUV struct {
	output string
	err    error
	calls  []lock.Command
	files  map[string]string
}

func (f *fakeUV) Run(_ context.Context, c lock.Command) ([]byte, error) {
	f.calls = append(f.calls, c)
	f.files = make(map[string]string)
	for _, name := range []string{"requirements.in", "pylock.toml"} {
		if data, err := os.ReadFile(filepath.Join(c.Dir, name)); err == nil {
			f.files[name] = string(data)
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	return nil, os.WriteFile(filepath.Join(c.Dir, "pylock.toml"), []byte(f.output), 0o644)
}

const uvOutput = head + `
[[packages]]
name = "a"
version = "1"
index = "https://user:secret@index.example/simple"
wheels = [
  { url = "https://files.example/a-1-py3-none-any.whl", upload-time = 2026-01-01T00:00:00Z, size = 5, hashes = { sha256 = "AAA" } },
  { url = "https://files.example/a-1-cp312-cp312-macosx_14_0_arm64.whl", size = 6, hashes = { sha256 = "BBB" } },
]
[[packages]]
name = "unwanted"
version = "1"
sdist = { url = "https://files.example/unwanted-1.tar.gz", hashes = { sha256 = "AAA" } }
[[packages]]
name = "direct"
version = "3"
archive = { url = "https://releases.example/direct-3-py3-none-any.whl", hashes = { sha256 = "BBB" } }
`

func demo(t *testing.T, requirements, wheels string) *recipes.Recipe {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"requirements.in": requirements, "recipe.yaml": `
version: 1
name: demo
release: "1"
requirements: requirements.in
targets: [{platform: darwin/arm64, os: "15.0", lock: pylock.darwin.toml, interpreter: {version: 3.12.1, file: a.tar, sha256: ` + sumA + `}}]
wheels: ` + wheels + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := recipes.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestResolve(t *testing.T) {
	t.Parallel()
	r := demo(t, "a\ndirect @ https://releases.example/direct-3-py3-none-any.whl\n", `{exclude: [{package: unwanted, reason: "not needed"}, {package: misspelt, reason: "not needed"}]}`)
	rt := r.Targets[0]
	tg, err := lock.ForTarget(rt)
	if err != nil {
		t.Fatal(err)
	}
	fake := &fakeUV{output: strings.NewReplacer("AAA", sumA, "BBB", sumB).Replace(uvOutput)}
	var notes []string
	note := func(e bundle.Event) { notes = append(notes, e.Reason) }
	l, err := lock.Resolve(t.Context(), lock.UV{Path: "uv", Runner: fake}, r, tg, lock.ResolveOptions{Events: note})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"wheels.exclude (misspelt) matched nothing on darwin/arm64"}, notes); diff != "" {
		t.Error(diff)
	}
	call := fake.calls[0]
	if !slices.Contains(call.Env, "MACOSX_DEPLOYMENT_TARGET=15.0") || !slices.Contains(call.Env, "UV_PYTHON_DOWNLOADS=never") {
		t.Errorf("environment %q", call.Env)
	}
	if argv := strings.Join(call.Argv, " "); !strings.Contains(argv, "--python-platform aarch64-apple-darwin --only-binary :all: --format pylock.toml") {
		t.Errorf("argv %q", argv)
	}
	text := string(l.Encode())
	for _, want := range []string{"wheels/a-1-cp312-cp312-macosx_14_0_arm64.whl", "size = 6", "https://releases.example/direct-3", `platform = "darwin/arm64"`, `floor = "macos 15.0"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, bad := range []string{"files.example", "index.example", "secret", "unwanted", "py3-none-any.whl\", size"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q in\n%s", bad, text)
		}
	}
	if err := lock.Write(r.PathOf(rt.Lock), l); err != nil {
		t.Fatal(err)
	}
	if _, _, wheels, err := lock.ForRecipe(r, rt); err != nil || len(wheels) != 2 {
		t.Errorf("got %d wheels, %v", len(wheels), err)
	}
	// With the lock as it is, its versions are preferred but for those to update.
	if _, err := lock.Resolve(t.Context(), lock.UV{Path: "uv", Runner: fake}, r, tg, lock.ResolveOptions{Current: l, Update: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	const prefer = "lock-version = \"1.0\"\ncreated-by = \"metalpack\"\npackages = [\n  { name = \"a\", version = \"1\" },\n]\n"
	if argv := strings.Join(fake.calls[1].Argv, " "); fake.files["pylock.toml"] != prefer || !strings.HasSuffix(argv, "--upgrade-package a") {
		t.Errorf("preferences %q, argv %q", fake.files["pylock.toml"], argv)
	}
	// Other requirements make it stale; other line ends do not.
	req := r.PathOf("requirements.in")
	if err := os.WriteFile(req, []byte("a\r\ndirect @ https://releases.example/direct-3-py3-none-any.whl\r\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := lock.Check(l, r, tg); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(req, []byte("a\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := lock.Check(l, r, tg); !errors.Is(err, lock.ErrStale) {
		t.Errorf("got %v, want ErrStale", err)
	}
}

func TestResolveErrors(t *testing.T) {
	t.Parallel()
	r := demo(t, "a\n", "{}")
	tg, err := lock.ForTarget(r.Targets[0])
	if err != nil {
		t.Fatal(err)
	}
	for text, is := range map[string]error{
		"exit status 2: error: Failed to fetch: `https://user:secret@index.example/simple/a/`": bundle.ErrUnreachable,
		"exit status 1: No solution found when resolving dependencies":                         bundle.ErrInvalid,
	} {
		uv := lock.UV{Path: "uv", Runner: &fakeUV{err: errors.New(text)}}
		_, err := lock.Resolve(t.Context(), uv, r, tg, lock.ResolveOptions{})
		if !errors.Is(err, is) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "simple") {
			t.Errorf("got %v, want %v without an address", err, is)
		}
	}
	r = demo(t, "--index-url https://index.example\na\n", "{}")
	if _, err := lock.Checksum(r, tg); !errors.Is(err, bundle.ErrInvalid) || strings.Contains(err.Error(), "index.example") {
		t.Errorf("got %v", err)
	}
}

func TestSubstituteAndExtra(t *testing.T) {
	t.Parallel()
	r := demo(t, "a\n", `
  substitute: [{package: a, file: a-1-py3-none-any.whl, sha256: `+sumB+`, reason: built from a commit}]
  extra:
    - {file: vllm_metal-0.1-py3-none-any.whl, sha256: `+sumA+`, reason: on no index}
    - {file: other-0.1-py3-none-any.whl, sha256: `+sumA+`, reason: on no index, on: linux}`)
	text := head + "[[packages]]\nname = \"a\"\nvcs = { type = \"git\", url = \"u\", commit-id = \"c\" }\n"
	if err := os.WriteFile(r.PathOf("pylock.darwin.toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, wheels, err := lock.ForRecipe(r, r.Targets[0])
	if err != nil {
		t.Fatal(err)
	}
	want := []lock.Wheel{
		{Name: "a", Version: "1", File: "a-1-py3-none-any.whl", SHA256: sumB},
		{Name: "vllm-metal", Version: "0.1", File: "vllm_metal-0.1-py3-none-any.whl", SHA256: sumA},
	}
	if diff := cmp.Diff(want, wheels); diff != "" {
		t.Error(diff)
	}
}
