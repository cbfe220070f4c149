// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package standin owns the two wheels that take the place of the release assets
// of the vllm-metal environment where release downloads are unreachable:
// vllm_metal 0.30.0 and vllm 0.30.0+cpu, with the right names, versions and
// entry points and next to nothing inside. Neither serves a model.
//
// Their bytes are the same everywhere, so that a recipe can name their sha256.
package standin

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
)

// Wheel is one stand-in.
type Wheel struct {
	File string // file name, that of the real asset
	Data []byte
}

// SHA256 is the digest of the wheel, hex.
func (w Wheel) SHA256() string {
	sum := sha256.Sum256(w.Data)
	return hex.EncodeToString(sum[:])
}

// Wheels makes both. Members are stored, because deflate may write other bytes
// with another release of Go.
func Wheels() []Wheel {
	return []Wheel{
		build("vllm_metal", "0.30.0", map[string]string{
			"vllm_metal/__init__.py": "\"\"\"A stand-in: it has the name of vllm-metal and none of its code.\"\"\"\n\n\ndef register():\n    return None\n",
		}, wheeltest.Options{
			Tag: "cp312-cp312-macosx_15_0_arm64", Store: true,
			EntryPoints: "[vllm.platform_plugins]\nmetal = vllm_metal:register\n",
		}),
		build("vllm", "0.30.0+cpu", map[string]string{
			"vllm/__init__.py":                      "\"\"\"A stand-in: it has the name of vLLM and none of its code.\"\"\"\n\n__version__ = \"0.30.0+cpu\"\n",
			"vllm/entrypoints/__init__.py":          "",
			"vllm/entrypoints/cli/__init__.py":      "",
			"vllm/entrypoints/cli/main.py":          "def main():\n    raise SystemExit(\"a stand-in cannot serve\")\n",
			"vllm/entrypoints/openai/__init__.py":   "",
			"vllm/entrypoints/openai/api_server.py": "raise SystemExit(\"a stand-in cannot serve\")\n",
		}, wheeltest.Options{
			Tag: "cp312-cp312-macosx_11_0_arm64", Store: true,
			EntryPoints: "[console_scripts]\nvllm = vllm.entrypoints.cli.main:main\n",
		}),
	}
}

func build(name, version string, files map[string]string, o wheeltest.Options) Wheel {
	return Wheel{File: wheeltest.FileName(name, version, o), Data: wheeltest.Build(name, version, files, o)}
}

// Write writes both wheels into a directory, which is made if it is not there.
// Errors are those of the file system.
func Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, w := range Wheels() {
		if err := os.WriteFile(filepath.Join(dir, w.File), w.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
