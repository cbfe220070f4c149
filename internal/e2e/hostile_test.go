// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
)

// hostileWheels are wheels of vllm-metal with one fault each. Package wheel
// tests many more; these go through the command line.
func hostileWheels() map[string][]byte {
	file := func(name string) []byte {
		return wheeltest.Build("vllm_metal", "1.0.0", map[string]string{"vllm_metal/__init__.py": "", name: "x"}, wheeltest.Options{})
	}
	with := func(o wheeltest.Options) []byte {
		return wheeltest.Build("vllm_metal", "1.0.0", map[string]string{"vllm_metal/__init__.py": "", "l": "/etc/passwd"}, o)
	}
	good := with(wheeltest.Options{})
	return map[string][]byte{
		"escape":     file("../evil.py"),
		"absolute":   file("/etc/evil"),
		"symlink":    with(wheeltest.Options{Modes: map[string]fs.FileMode{"l": fs.ModeSymlink | 0o777}}),
		"twice":      with(wheeltest.Options{Extra: []wheeltest.Member{{Name: "l", Content: "other"}}}),
		"prefix":     append([]byte("#!/bin/sh\n"), good...),
		"trailing":   append(bytes.Clone(good), 0),
		"unlisted":   with(wheeltest.Options{Extra: []wheeltest.Member{{Name: "evil.py", Content: "x"}}}),
		"pth":        file("evil.pth"),
		"zip":        file("vllm_metal-1.0.0.data/data/lib/python312.zip"),
		"command":    with(wheeltest.Options{EntryPoints: "[console_scripts]\n../../bin/sh = a:b\n"}),
		"name":       with(wheeltest.Options{Metadata: "Name: torch\nVersion: 1.0.0\n"}),
		"bomb":       wheeltest.Build("vllm_metal", "1.0.0", map[string]string{"zeros": string(make([]byte, 4<<20))}, wheeltest.Options{}),
		"same path":  file("stub_engine.py"),
		"same name":  file("Stub_Engine.py"),
		"stdlib":     file("abc.py"),
		"byte code":  file("stub_engine.pyc"),
		"not a zip":  []byte("PK"),
		"of another": wheeltest.Build("torch", "1.0.0", nil, wheeltest.Options{}),
	}
}

func cmdHostile(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: hostile DIR KIND")
	}
	data, ok := hostileWheels()[args[1]]
	if !ok {
		ts.Fatalf("no hostile wheel %q", args[1])
	}
	name := wheeltest.FileName("vllm_metal", "1.0.0", wheeltest.Options{})
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), "wheels", name), data, 0o644))
	lock := filepath.Join(ts.MkAbs(args[0]), "pylock.test.toml")
	row := regexp.MustCompile(`("wheels/` + regexp.QuoteMeta(name) + `"), size = \d+, hashes = \{sha256 = "[0-9a-f]+"`)
	text := ts.ReadFile(lock)
	if !row.MatchString(text) {
		ts.Fatalf("%s has no row of %s", lock, name)
	}
	text = row.ReplaceAllString(text, fmt.Sprintf(`$1, size = %d, hashes = {sha256 = "%x"`, len(data), sha256.Sum256(data)))
	ts.Check(os.WriteFile(lock, []byte(text), 0o644))
}
