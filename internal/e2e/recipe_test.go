// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/internal/embedpython"
)

// recipeYAML is an environment with the name and the probes of the product,
// and a stand-in engine. The verbs are: platform, floor key, floor, archive,
// sha256 of it, release, probe timeout, more.
const recipeYAML = `version: 1
name: vllm-metal
release: %[6]s
requirements: requirements.in
targets:
  - platform: %[1]s
    %[2]s: "%[3]s"
    lock: pylock.test.toml
    interpreter: {version: 3.12.3, file: %[4]s, sha256: %[5]s}
strip: ["include/**", "share/**", "lib/python3.12/{tkinter,idlelib,lib2to3,ensurepip,pydoc_data,distutils}/**"]
compression: {gzip: 1, zstd: fast}
launch:
  stub:
    module: stub_engine
    args: ["--model", "{model.dir}", "--host", "{host}", "--port", "{port}"]
    health: /health
    names: rewrite
    ready: 10m
    scratch: [HOME, TMPDIR]
    endpoints: [/v1/chat/completions, /v1/completions, /v1/models]
    failures: [{line: "no memory for the cache", hint: "use a smaller model"}]
probes:
  - {import: vllm_metal, version: vllm-metal, timeout: %[7]s}
  - {call: "vllm_metal.register()", equals: vllm_metal.platform.MetalPlatform, on: darwin}
%[8]s`

// sources are the forms of the stand-in vllm_metal.
var sources = map[string]string{
	"good":  "def register():\n    return 'vllm_metal.platform.MetalPlatform'\n",
	"crash": "raise ImportError('stand-in: dlopen failed')\n",
	"hang":  "import time\ntime.sleep(3600)\n",
	"wrong": "", // the version differs from what the lock says
}

// cmdRecipe writes a recipe directory. Keys: vllm = good, crash, hang, wrong
// or missing; release; timeout of the first probe; note, a text in a small
// wheel; platform; record = lie; bytes = wrong; yaml, a line to add.
func cmdRecipe(ts *testscript.TestScript, _ bool, args []string) {
	dir, o := ts.MkAbs(args[0]), pairs(ts, args[1:])
	get := func(key, otherwise string) string {
		if v, ok := o[key]; ok {
			return v
		}
		return otherwise
	}
	host := ts.Getenv("PLATFORM")
	python, err := embedpython.Find(host)
	ts.Check(err)
	floor, version := "glibc", "2.17"
	platform := get("platform", host)
	if strings.HasPrefix(platform, "darwin/") {
		floor, version = "os", "11.0"
	}
	ts.Check(os.MkdirAll(filepath.Join(dir, "wheels"), 0o755))
	ts.Check(os.WriteFile(filepath.Join(dir, "requirements.in"), nil, 0o644))
	yaml := fmt.Sprintf(recipeYAML, platform, floor, version, python.File, python.SHA256, get("release", "1.0.0"), get("timeout", "10m"), o["yaml"])
	ts.Check(os.WriteFile(filepath.Join(dir, "recipe.yaml"), []byte(yaml), 0o644))

	lock := "lock-version = \"1.0\"\ncreated-by = \"e2e\"\n"
	add := func(name, version string, data []byte, sum string) {
		file := wheeltest.FileName(name, version, wheeltest.Options{})
		ts.Check(os.WriteFile(filepath.Join(dir, "wheels", file), data, 0o644))
		if sum == "" {
			digest := sha256.Sum256(data)
			sum = hex.EncodeToString(digest[:])
		}
		lock += fmt.Sprintf("\n[[packages]]\nname = %q\nversion = %q\nwheels = [{name = %q, path = %q, size = %d, hashes = {sha256 = %q}}]\n",
			strings.ReplaceAll(name, "_", "-"), version, file, "wheels/"+file, len(data), sum)
	}
	engine, err := os.ReadFile(filepath.Join(ts.Getenv("ENGINE"), "stub_engine.py"))
	ts.Check(err)
	add("stub_engine", "1.0.0", wheeltest.Build("stub_engine", "1.0.0", map[string]string{"stub_engine.py": string(engine), "stub_note.txt": o["note"]}, wheeltest.Options{}), "")
	wo := wheeltest.Options{}
	if o["record"] == "lie" {
		wo.Record = func(s string) string {
			i := strings.Index(s, "vllm_metal/__init__.py,sha256=") + len("vllm_metal/__init__.py,sha256=")
			return s[:i] + strings.Repeat("A", 43) + s[i+43:]
		}
	}
	sum := ""
	if o["bytes"] == "wrong" {
		sum = strings.Repeat("ab", 32)
	}
	form := get("vllm", "good")
	files := map[string]string{"vllm_metal/__init__.py": sources[form]}
	if form == "missing" {
		files = map[string]string{"other/__init__.py": ""}
	}
	if form == "wrong" {
		files["vllm_metal/__init__.py"] = "import importlib.metadata\nimportlib.metadata.version = lambda name: '9.9.9'\n"
	}
	add("vllm_metal", "1.0.0", wheeltest.Build("vllm_metal", "1.0.0", files, wo), sum)
	ts.Check(os.WriteFile(filepath.Join(dir, "pylock.test.toml"), []byte(lock), 0o644))
}
