// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/recipes"
)

const below = `version: 1
name: demo
release: "1"
requirements: requirements.in
targets:
  - platform: linux/amd64
    glibc: "2.35"
    lock: pylock.amd64.toml
    interpreter: {version: 3.12.1, file: a.tar, sha256: ` + sum + `}
    env: {engine: {A: "1", B: "2"}}
  - platform: linux/arm64
    glibc: "2.35"
    lock: pylock.arm64.toml
    interpreter: {version: 3.12.1, file: b.tar, sha256: ` + sum + `}
strip: [include/**, share/**]
wheels:
  exclude: [{package: a, reason: r}]
launch:
  engine: &engine
    module: engine
    args: ["{model.dir}", "{port}"]
    names: rewrite
    health: /health
    endpoints: [/v1/models]
  other: *engine
probes: [{import: engine}]
`

const above = `version: 1
extends: ../below
release: "2"
targets:
  - {platform: darwin/arm64, os: "15.0", lock: pylock.mac.toml, interpreter: {version: 3.12.1, file: c.tar, sha256: ` + sum + `}}
  - platform: linux/arm64
    glibc: "2.39"
    env: {engine: {B: "3"}}
wheels:
  winner: [{path: x, package: a, reason: r}]
compression:
  gzip: 9
probes: []
`

// Every field is shown where it was written, through extends and merge; one
// that was not written, at what should hold it.
func TestPlaces(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"below/recipe.yaml": below, "above/recipe.yaml": above})
	r := load(t, filepath.Join(dir, "above"))
	for field, want := range map[string]string{
		"release":                     "above:3:10",
		"name":                        "below:2:7",
		"nothing":                     "above:1:1",
		"targets":                     "above:4:1",
		"targets[0].glibc":            "below:7:12",
		"targets[0].os":               "below:6:5",
		"targets[0].env.engine.B":     "below:10:31",
		"targets[1].glibc":            "above:7:12",
		"targets[1].lock":             "below:13:11",
		"targets[1].interpreter.file": "below:14:42",
		"targets[1].interpreter.url":  "below:14:5",
		"targets[1].env.engine.B":     "above:8:23",
		"targets[1].env.engine.A":     "above:8:11",
		"targets[2].lock":             "above:5:48",
		"targets[9]":                  "above:4:1",
		"strip[1]":                    "below:15:21",
		"strip[2]":                    "below:15:1",
		"wheels.winner[0].path":       "above:10:19",
		"wheels.exclude[0].reason":    "below:17:34",
		"wheels.waive":                "above:9:1",
		"compression.gzip":            "above:12:9",
		"compression.zstd":            "above:11:1",
		"launch.engine.args[1]":       "below:21:27",
		"launch.other.health":         "below:25:3",
		"launch.none.module":          "below:18:1",
		"probes[0]":                   "above:13:1",
	} {
		e := r.Fault(field, "wrong")
		got := strings.Join(strings.Split(e.Error(), ":")[:3], ":")
		got = strings.Replace(strings.TrimPrefix(got, dir+string(filepath.Separator)), filepath.FromSlash("/recipe.yaml"), "", 1)
		if got != want {
			t.Errorf("%s: at %s, want %s", field, got, want)
		}
	}
}

func TestErrorShows(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	for name, c := range map[string]struct {
		err  recipes.Error
		want string
	}{
		"nowhere":    {recipes.Error{Field: "name", Message: "bad"}, "name: bad"},
		"no line":    {recipes.Error{File: "f", Message: "bad"}, "f: bad"},
		"a caret":    {recipes.Error{File: "f", Line: 2, Column: 3, Field: "a.b", Message: "bad", Excerpt: "a: b"}, "f:2:3: a.b: bad\n  a: b\n    ^"},
		"a tab":      {recipes.Error{File: "f", Line: 2, Column: 3, Message: "bad", Excerpt: "\ta: b"}, "f:2:3: bad\n  \ta: b\n  \t ^"},
		"characters": {recipes.Error{File: "f", Line: 2, Column: 4, Message: "bad", Excerpt: "äöü: b"}, "f:2:4: bad\n  äöü: b\n     ^"},
		"its begin":  {recipes.Error{File: "f", Line: 2, Column: 2, Message: "bad", Excerpt: long}, "f:2:2: bad\n  " + long[:100] + "…\n   ^"},
		"its end":    {recipes.Error{File: "f", Line: 2, Column: 200, Message: "bad", Excerpt: long}, "f:2:200: bad\n  …" + long[:100] + "\n  " + strings.Repeat(" ", 100) + "^"},
		"its middle": {recipes.Error{File: "f", Line: 2, Column: 100, Message: "bad", Excerpt: long}, "f:2:100: bad\n  …" + long[:100] + "…\n  " + strings.Repeat(" ", 50) + "^"},
	} {
		if d := cmp.Diff(c.want, c.err.Error()); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if !errors.Is(&c.err, bundle.ErrInvalid) {
			t.Errorf("%s: not ErrInvalid", name)
		}
	}
}

// An excerpt shows no login, in whatever it is that is wrong.
func TestErrorHidesLogins(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"decoded": strings.Replace(below, "file: a.tar", `file: a.tar, url: "https://user:secret@example.org/a.tar"`, 1),
		"token":   strings.Replace(below, "file: a.tar", `file: a.tar, url: "https://secret@example.org/a.tar"`, 1),
		"unknown": strings.Replace(below, "file: a.tar", `urll: "https://user:secret@example.org/a.tar"`, 1),
	} {
		_, err := recipes.Load(write(t, map[string]string{"recipe.yaml": text}))
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "***@example.org") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"below/recipe.yaml": below, "above/recipe.yaml": `version: 1
extends: ../below
targets:
  - {platform: linux/amd64, interpreter: {version: 3.12.2, file: own.tar, sha256: ` + sum + `, reason: ours is newer}}
  - platform: linux/arm64
    interpreter: {version: 3.12.1, file: b.tar, sha256: ` + sum + `, waive: [{rule: minos, path: lib/x.dylib, reason: never loaded}]}
wheels:
  extra:
    - {file: My_Pkg.x-1-py3-none-any.whl, sha256: ` + sum + `, reason: on no index}
    - {file: mac-1-py3-none-any.whl, sha256: ` + sum + `, on: darwin, reason: for Macs}
`})
	r := load(t, filepath.Join(dir, "above"))
	shared := []bundle.Decision{
		{Kind: "exclude", Package: "a", Reason: "r"},
		{Kind: "extra", Package: "my-pkg-x", Path: "My_Pkg.x-1-py3-none-any.whl", Reason: "on no index"},
	}
	for platform, want := range map[string][]bundle.Decision{
		"linux/amd64": append(shared[:2:2], bundle.Decision{Kind: "interpreter", Path: "own.tar", Reason: "ours is newer"}),
		"linux/arm64": append(shared[:2:2], bundle.Decision{Kind: "waive", Rule: "minos", Path: "lib/x.dylib", Reason: "never loaded"}),
	} {
		tg, _ := r.Target(platform)
		if d := cmp.Diff(want, r.Decisions(tg)); d != "" {
			t.Errorf("%s: %s", platform, d)
		}
	}
}

// What users would get wrong, and would learn from a server that does not
// start, or from a probe on another machine.
func TestValidateLaunchAndStrip(t *testing.T) {
	t.Parallel()
	change := func(old, replacement string) string {
		if !strings.Contains(below, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(below, old, replacement, 1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"no model":           {change(`["{model.dir}", "{port}"]`, `["{port}"]`), "launch.engine.args: no {model.dir}: the server would not know its model"},
		"no port":            {change(`, "{port}"]`, `]`), "launch.engine.args: no {port}"},
		"misspelt":           {change(`{port}`, `{prot}`), `launch.engine.args[1]: "{prot}": no placeholder {prot}`},
		"names in a word":    {change(`"{port}"`, `"--names={model.names}", "{port}"`), "{model.names} is an argument of its own"},
		"names not told":     {change("    names: rewrite\n", ""), "launch.engine.args: no {model.names}: a server that is not told its names needs names: rewrite"},
		"scratch twice":      {change("    names:", "    scratch: [X, X]\n    names:"), `launch.engine.scratch[1]: "X": want names`},
		"scratch and value":  {change("    names:", "    scratch: [X]\n    env: {X: y}\n    names:"), "launch.engine.env.X: X is among"},
		"scratch and target": {change("    names:", "    scratch: [B]\n    names:"), "targets[0].env.engine.B: B is among"},
		"endpoint":           {change("[/v1/models]", "[v1/models]"), `launch.engine.endpoints[0]: "v1/models": want paths`},
		"endpoint twice":     {change("[/v1/models]", "[/v1, /v1]"), "launch.engine.endpoints[1]"},
		"empty failure":      {change("    names:", "    failures: [{line: '', hint: x}]\n    names:"), "launch.engine.failures[0].line: missing"},
		"strip interpreter":  {change("share/**", "bin/**"), `strip[1]: "bin/**" would remove the interpreter`},
		"strip all":          {change("share/**", "'**'"), "would remove the interpreter"},
		"strip below root":   {change("share/**", "demo/share/**"), `"demo/share/**": the root is demo/ itself`},
		"strip dot":          {change("share/**", "./share/**"), "relative to the root"},
		"strip directory":    {change("share/**", "share/"), `all below a directory is "share/**"`},
		"call of nothing":    {change("{import: engine}", "{call: register()}"), "probes[0].call: \"register()\": which module"},
		"call of a builtin":  {change("{import: engine}", "{call: 'str(engine.x())'}"), "which module"},
		"probes of one name": {change("{import: engine}", "{code: a}, {code: b}"), `probes[1]: another probe is named "code" too`},
		"version name":       {change("{import: engine}", "{import: engine, version: My_Engine}"), "probes[0].version"},
		"no rule":            {change("{package: a, reason: r}]", "{package: a, reason: r}]\n  waive: [{package: a, rule: pht, reason: r}]"), `wheels.waive[0].rule: "pht": known are arch, malformed, minos, platform, pth, pycache, record, startup, stdlib, unsigned`},
	} {
		_, err := recipes.Load(write(t, map[string]string{"recipe.yaml": c.text}))
		if err == nil || !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got\n%v\nwant\n%s", name, err, c.want)
		}
	}
	for _, text := range []string{
		change("{import: engine}", "{call: engine.x.y() + 1}, {call: engine.version}"),
		change(`["{model.dir}", "{port}"]`, `["--json={\"a\": 1}", "{port}"]`+"\n    env: {MODEL: \"{model.dir}\"}"),
	} {
		load(t, write(t, map[string]string{"recipe.yaml": text}))
	}
}

// Whatever a recipe holds, it is read or refused, and a place that is named is
// one of the file.
func FuzzLoad(f *testing.F) {
	f.Add(below)
	f.Add(above)
	f.Add("version: 1\nname: &a [*a]\n")
	f.Add("version: 1\nlaunch: {x: {<<: {module: y}}}\n? [a]\n: b\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "extends") {
			return // other files are not this input
		}
		if err := os.WriteFile(filepath.Join(dir, recipes.FileName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := recipes.Load(dir)
		if err == nil {
			if _, err := r.Merged(); err != nil {
				t.Error(err)
			}
			return
		}
		if !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("not ErrInvalid: %v", err)
		}
		if e, ok := errors.AsType[*recipes.Error](err); ok && e.Line > 2+len(regexp.MustCompile("[\r\n\u0085\u2028\u2029]").FindAllString(text, -1)) {
			t.Errorf("line %d of %q", e.Line, text)
		}
	})
}
