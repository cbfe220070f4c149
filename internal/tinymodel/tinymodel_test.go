// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package tinymodel

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// goldens pin the bytes: demos and locks elsewhere may name their digests.
var goldens = map[string]string{
	"README.md":             "fc3d40606ed1e981b0ae577268693576e1631a92a6aee4695ea4b7cec0d3bb46",
	"config.json":           "5d6f748e22a9a71e9fdf8416cc103818ef72bfdb598a04b9e27b47969e867149",
	"model.safetensors":     "247d6dae64adf6c8d5486dd4fad8f76eaa5649b9fb84978d042916d1b8e57b78",
	"tokenizer.json":        "edc0bfa1683a71b60fdb9ff2c45c4e1e34ff364a3ed434e99b1972c319978f7e",
	"tokenizer_config.json": "b1e453decafe0b11b5e8ded99a9b886a3e24e230af45d42cc7277bc612e8645e",
}

func TestWriteIsDeterministic(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "dir")
	if err := Write(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(goldens) {
		t.Errorf("%d files, want %d", len(entries), len(goldens))
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		if got := hex.EncodeToString(sum[:]); got != goldens[e.Name()] {
			t.Errorf("%q: %q,", e.Name(), got)
		}
	}
}

// TestSafetensors checks the layout as a strict reader does: shape and dtype
// agree with the offsets, no gap, no overlap, nothing behind.
func TestSafetensors(t *testing.T) {
	t.Parallel()
	file, err := safetensors(tensors())
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(file)
	if n%8 != 0 {
		t.Errorf("header of %d bytes leaves the data unaligned", n)
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(file[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	end, want := 0, 0
	for _, tensor := range tensors() {
		var row struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(header[tensor.name], &row); err != nil {
			t.Fatal(err)
		}
		size := map[string]int{"U32": 4, "F16": 2}[row.DType]
		for _, d := range row.Shape {
			size *= d
		}
		if row.Offsets[0] != end || row.Offsets[1]-row.Offsets[0] != size {
			t.Errorf("%s: %+v after %d", tensor.name, row, end)
		}
		end = row.Offsets[1]
		want++
	}
	if len(file) != 8+int(n)+end || len(header) != want+1 {
		t.Errorf("%d bytes, %d header rows", len(file), len(header))
	}
}

func TestVocabularyIsFull(t *testing.T) {
	t.Parallel()
	model, ok := tokenizer()["model"].(map[string]any)
	if !ok {
		t.Fatal("no model")
	}
	vocab, ok := model["vocab"].(map[string]int)
	if !ok || len(vocab) != vocabSize {
		t.Fatalf("%d entries, want %d", len(vocab), vocabSize)
	}
	ids := map[int]bool{}
	for token, id := range vocab {
		if ids[id] || id < 0 || id >= vocabSize {
			t.Errorf("%q: id %d twice or out of range", token, id)
		}
		ids[id] = true
	}
	if vocab[imEnd] != eosID {
		t.Errorf("%s has id %d, want %d", imEnd, vocab[imEnd], eosID)
	}
}

func TestFloat16(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]uint16{0: 0, 1: 0x3c00, -2: 0xc000, 1.0 / 64: 0x2400, -7.5 / 64: 0xaf80} {
		if got := float16(x); got != want {
			t.Errorf("%v: %#x, want %#x", x, got, want)
		}
	}
}
