// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package fsatomic

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	for _, text := range []string{"one", "two"} {
		if err := WriteFile(name, []byte(text), 0o444); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(name); err != nil || string(data) != text {
			t.Errorf("%q, %v", data, err)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("%v, %v", info, err)
	}
	link := filepath.Join(dir, "l")
	for _, target := range []string{"f", "g"} {
		if err := Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(link); err != nil || got != target {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := Rename(name, filepath.Join(dir, "g")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}

// What cannot be published leaves the old state and no temporary name.
func TestPublishFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if WriteFile(taken, nil, 0o600) == nil || Symlink("x", taken) == nil || WriteFile(filepath.Join(dir, "none", "f"), nil, 0o600) == nil {
		t.Error("no error")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || IsTemp(entries[0].Name()) {
		t.Errorf("%v, %v", entries, err)
	}
	if !IsTemp(filepath.Base(tempName(taken))) {
		t.Error("its own names are not known")
	}
}
