// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

var update = flag.Bool("update", false, "write testdata/golden.json anew")

// golden is what one small environment is, to the last byte. The tree, the
// identities and the diffIDs are the contract and change only with the format;
// the blobs may change with the codecs.
type golden struct {
	Tree   string        `json:"tree"`
	Index  string        `json:"index"`
	Codec  string        `json:"codec"` // version of the library that made the blobs
	Layers []goldenLayer `json:"layers"`
}

type goldenLayer struct {
	Name     string `json:"name"`
	Identity string `json:"identity"`
	DiffID   string `json:"diffId"`
	Gzip     string `json:"gzip"`
	Zstd     string `json:"zstd"`
}

// goldenInput has whatever a tar header can make different: long and non-ASCII
// names, a large file, an empty one, executables, symlinks, scripts, data and
// headers. Members of wheels are stored: deflate may write other bytes with
// another release of Go, and environment.json has the sha256 of each wheel.
func goldenInput(t *testing.T) Input {
	t.Helper()
	in := Input{
		Name: "golden", Release: "1.0", Platform: bundle.Platform{OS: "linux", Arch: "arm64", Glibc: "2.35"},
		CacheDir: t.TempDir(), RecipeYAML: []byte("version: 1\n"), LockTOML: []byte("lock-version = '1.0'\n"),
		Probes: []bundle.Probe{{Import: bundle.Strings{"plain"}}},
	}
	setInterpreter(t, &in, wheeltest.Interpreter("linux", "arm64", map[string]string{
		"lib/libpython3.12.so":     "-> libpython3.12.so.1.0",
		"lib/libpython3.12.so.1.0": strings.Repeat("so", 5000),
	}))
	noise := strings.Repeat("The quick brown fox jumps over the lazy dog. 0123456789\n", 1<<10)
	addWheel(t, &in, "large", map[string]string{
		"large/__init__.py": "", "large/weights.bin": strings.Repeat(noise, 24), "large/lib.so": "\x7fELF",
	}, wheeltest.Options{Store: true, Modes: map[string]fs.FileMode{"large/lib.so": 0o755}})
	addWheel(t, &in, "plain", map[string]string{
		"plain.py": "x = 1\n", "shared/same.txt": "same",
		"plain-1.0.data/scripts/tool":          "#!python\nprint(1)\n",
		"plain-1.0.data/scripts/shell":         "#!/bin/sh\n",
		"plain-1.0.data/data/etc/plain.conf":   "a = b\n",
		"plain-1.0.data/headers/plain.h":       "#pragma once\n",
		"plain-1.0.dist-info/licenses/LICENSE": "MIT\n",
	}, wheeltest.Options{Store: true, EntryPoints: "[console_scripts]\nplain = plain:main\nplain.more = plain:sub.main [extra]\n"})
	deep := strings.Repeat("a-directory-of-a-long-name/", 9)
	addWheel(t, &in, "names", map[string]string{
		"names/" + deep + "file.txt":                      "deep",
		"names/" + strings.Repeat("n", 120) + ".txt":      "long",
		"names/caf\u00e9/\u65e5\u672c\u8a9e.txt":          "not ASCII",
		"names/" + strings.Repeat("\u00fc", 110) + ".txt": "long and not ASCII",
		"names/with blank.txt":                            "",
	}, wheeltest.Options{Store: true, Tag: "cp312-cp312-manylinux_2_35_aarch64"})
	addWheel(t, &in, "another", map[string]string{"shared/same.txt": "same", "another.py": "y"}, wheeltest.Options{Store: true})
	return in
}

// TestGoldenEnvironment holds every byte of an environment, on every machine.
func TestGoldenEnvironment(t *testing.T) {
	t.Parallel()
	p := newPlan(t, goldenInput(t))
	v, err := p.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, err := Assemble([]*Variant{v})
	if err != nil {
		t.Fatal(err)
	}
	got := golden{Tree: p.TreeDigest.String(), Index: a.Root().Digest.String(), Codec: compressVersion}
	for i, l := range p.Layers {
		b := v.layers[i]
		got.Layers = append(got.Layers, goldenLayer{l.Name, l.Identity, b.diffID.String(), b.blobs[0].desc.Digest.String(), b.blobs[1].desc.Digest.String()})
	}
	file := filepath.Join("testdata", "golden.json")
	if *update {
		data, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(data, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want golden
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the environment is another (-want +got):\n%s\nIf that is meant, docs/format.md and tarball.FormatVersion may have to change too; then: go test ./builder -run GoldenEnvironment -update", diff)
	}
}
