// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/recipes"
)

const sum = "2f11b8aa3726bdbd87dd9eb76568412faddf4f47e26913fa45d6a2e424972acd"

// write makes a directory of files and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, name string) *recipes.Recipe {
	t.Helper()
	r, err := recipes.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestShippedRecipesLoad(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]string{"mlx-lm", "vllm", "vllm-metal"}, recipes.Names()); diff != "" {
		t.Error(diff)
	}
	for _, name := range recipes.Names() {
		r := load(t, name)
		if r.Name != name || r.Dir() != "" || r.WheelDirs() != nil {
			t.Errorf("%s: name %q, dir %q, wheels %q", name, r.Name, r.Dir(), r.WheelDirs())
		}
		for _, tg := range r.Targets {
			if _, err := r.ReadFile(tg.Lock); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestExtendsEmbedded(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"recipe.yaml": `
version: 1
extends: mlx-lm
targets:
  - platform: linux/amd64
    interpreter: {version: 3.12.3, file: cpython.tar, sha256: ` + sum + `, reason: release downloads are not reachable}
    env: {mlx-lm: {EXTRA: ""}}
`})
	base, r := load(t, "mlx-lm"), load(t, dir)
	tg, ok := r.Target("linux/amd64")
	if !ok || len(r.Targets) != 3 {
		t.Fatalf("targets: %+v", r.Targets)
	}
	want := recipes.Interpreter{Version: "3.12.3", File: "cpython.tar", SHA256: sum, Reason: "release downloads are not reachable"}
	if diff := cmp.Diff(want, tg.Interpreter); diff != "" {
		t.Error(diff)
	}
	if tg.Glibc != "2.35" || tg.Bundle().Floor() != "glibc 2.35" {
		t.Errorf("floor %q", tg.Bundle().Floor())
	}
	env := r.Profiles(tg)["mlx-lm"].Env
	if env["MLX_DISABLE_COMPILE"] != "1" || env["HF_HUB_OFFLINE"] != "1" {
		t.Errorf("env %v", env)
	}
	if _, ok := r.Launch["mlx-lm"].Env["MLX_DISABLE_COMPILE"]; ok {
		t.Error("a target's variable leaked into the recipe's profile")
	}
	got, err := r.ReadFile(tg.Lock)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := base.ReadFile(tg.Lock)
	if err != nil || !bytes.Equal(got, lock) {
		t.Errorf("the lock is not the embedded one: %v", err)
	}
	if diff := cmp.Diff([]string{filepath.Join(dir, "wheels")}, r.WheelDirs()); diff != "" {
		t.Error(diff)
	}
	text, err := r.Merged()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), dir) || strings.Contains(string(text), "extends") || !strings.Contains(string(text), `EXTRA: ""`) {
		t.Errorf("merged recipe:\n%s", text)
	}
}

func TestMergedIsAFixedPoint(t *testing.T) {
	t.Parallel()
	r := load(t, "mlx-lm")
	first, err := r.Merged()
	if err != nil {
		t.Fatal(err)
	}
	second, err := load(t, write(t, map[string]string{"recipe.yaml": string(first)})).Merged()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(first), string(second)); diff != "" {
		t.Error(diff)
	}
}

func TestFilesBelongToTheRecipeThatNamedThem(t *testing.T) {
	t.Parallel()
	base := `
version: 1
name: demo
release: "1"
requirements: requirements.in
targets: [{platform: darwin/arm64, os: "15.0", lock: pylock.toml, interpreter: {version: 3.12.1, file: a.tar, sha256: ` + sum + `}}]
`
	dir := write(t, map[string]string{
		"base/recipe.yaml": base, "base/requirements.in": "base", "base/pylock.toml": "base",
		"child/recipe.yaml":     "version: 1\nextends: ../base\nrequirements: requirements.in\nstrip: []\n",
		"child/requirements.in": "child", "child/pylock.toml": "not named here",
	})
	r := load(t, filepath.Join(dir, "child"))
	for name, want := range map[string]string{"requirements.in": "child", "pylock.toml": "base"} {
		got, err := r.ReadFile(name)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	if got, want := r.PathOf("pylock.toml"), filepath.Join(dir, "base", "pylock.toml"); filepath.Clean(got) != want {
		t.Errorf("path %q, want %q", got, want)
	}
	if _, err := r.ReadFile("../base/recipe.yaml"); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}

func TestSyntaxErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"unknown field": {"version: 1\nname: x\n\trelease: 1\n", "recipe.yaml:"},
		"nested":        {"version: 1\nprobes:\n  - {import: a, timeot: 5s}\n", "recipe.yaml:3:17: unknown field \"timeot\"\n    - {import: a, timeot: 5s}\n                  ^"},
		"top":           {"version: 1\nlabl: x\n", "recipe.yaml:2:1: unknown field \"labl\"\n  labl: x\n  ^"},
		"kind":          {"version: 1\nname: [x]\n", "recipe.yaml:2:7: cannot construct"},
		"twice":         {"version: 1\nname: a\nname: b\n", "already defined"},
		"version":       {"version: 2\nnews: true\n", "recipe.yaml:1:10: version: 2: this program reads version 1\n  version: 2\n           ^"},
		"no version":    {"name: x\n", "recipe.yaml:1:1: version: 0: this"},
		"empty":         {"", "recipe.yaml"},
	} {
		_, err := recipes.Load(write(t, map[string]string{"recipe.yaml": c.text}))
		if err == nil || !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got\n%v\nwant\n%s", name, err, c.want)
		}
	}
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nope", "./nope", t.TempDir()} {
		_, err := recipes.Load(name)
		if !errors.Is(err, bundle.ErrNotFound) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := recipes.Load("nope"); !strings.Contains(err.Error(), "known are mlx-lm") {
		t.Errorf("got %v", err)
	}
	_, err := recipes.Load(write(t, map[string]string{"recipe.yaml": "version: 1\nextends: nope\n"}))
	if !errors.Is(err, bundle.ErrNotFound) || !strings.Contains(err.Error(), "known are mlx-lm") {
		t.Errorf("got %v", err)
	}
}

func TestCircle(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"a/recipe.yaml": "version: 1\nextends: ../b\n", "b/recipe.yaml": "version: 1\nextends: ../a\n",
	})
	if _, err := recipes.Load(filepath.Join(dir, "a")); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "circle") {
		t.Errorf("got %v", err)
	}
}

func TestValidateNamesEveryField(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"recipe.yaml": `
version: 1
extends: mlx-lm
name: "Bad Name"
targets:
  - {platform: linux/amd64, glibc: "x", os: "15.0", lock: pylock.a.b.toml, env: {nope: {A: b}}}
  - {platform: windows/amd64}
  - {platform: darwin/arm64, interpreter: {version: 3.13.1, sha256: zz, waive: [{rule: pth}]}}
wheels:
  winner: [{path: "../cv2/", package: a}]
  waive: [{package: B, reason: r}]
  exclude: [{package: a, reason: " "}]
  substitute: [{package: a, reason: r, file: dir/a.whl, sha256: ` + sum + `, url: "https://user:secret@example.org/a.whl"}]
  extra: [{file: a.zip, sha256: ` + sum + `, on: plan9}]
strip: ["/abs", "[", "../x/**"]
compression: {codecs: [lz4], gzip: 12, zstd: max}
launch: {mlx-lm: {module: "", args: [], health: nope, names: other, endpoints: []}}
probes: [{name: none}, {import: a, call: b}, {code: x, version: y}, {code: x, equals: y, on: plan9}]
`})
	_, err := recipes.Load(dir)
	if !errors.Is(err, bundle.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		`name "Bad Name"`, "targets[1].glibc", "targets[1].os", "targets[1].lock", "targets[1].env.nope", "targets[3].platform",
		"targets[0].interpreter.version", "targets[0].interpreter.sha256", "interpreter.waive[0].rule", "interpreter.waive[0].reason", "neither url nor file", "winner[0].reason", "winner[0].path",
		"waive[0].package", "waive[0].rule", "exclude[0].reason", "substitute[0].file", "substitute[0].url", "extra[0].reason", "extra[0].file",
		"extra[0].on", "strip[0]", "strip[1]", "strip[2]", "compression.codecs[0]", "compression.gzip", "compression.zstd", "launch.mlx-lm.module",
		"launch.mlx-lm.health", "launch.mlx-lm.names", "launch.mlx-lm.endpoints", "probes[0]", "probes[1]", "probes[2].version", "probes[3].equals", "probes[3].on",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word about %s", want)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Error("an error shows a credential")
	}
}
