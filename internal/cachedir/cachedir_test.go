// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cachedir_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/metalpack/metalpack/internal/cachedir"
	"github.com/metalpack/metalpack/internal/filelock"
)

func TestItem(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "cache")
	dir := filepath.Join(root, "ab")
	file, record := filepath.Join(dir, "file"), filepath.Join(dir, "file.json")
	old := time.Now().Add(-100 * time.Hour).Truncate(time.Second)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(file, []byte("12345"), 0o444), os.WriteFile(record, []byte("1"), 0o644),
		os.Chtimes(file, old, old), os.Chtimes(record, old, old)); err != nil {
		t.Fatal(err)
	}
	item, ok, err := cachedir.NewItem("files", record, file)
	if !ok || err != nil || item.Files != 1 || item.Bytes != 6 || !item.Used.Equal(old) {
		t.Fatalf("%+v, %v, %v", item, ok, err)
	}
	cachedir.Touch(record)
	if item, _, _ = cachedir.NewItem("files", record, file); time.Since(item.Used) > time.Hour {
		t.Errorf("used %v", item.Used)
	}
	if err := item.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the empty directory: %v", err)
	}
	if _, err := os.Stat(root); err != nil {
		t.Errorf("the cache itself, which others lock: %v", err)
	}
	if _, ok, err := cachedir.NewItem("files", record, file); ok || err != nil {
		t.Errorf("gone: %v, %v", ok, err)
	}
}

func TestAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	use, err := filelock.Shared(t.Context(), dir, os.O_RDONLY, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	waited := false
	release, err := cachedir.Alone(t.Context(), dir, func() {
		waited = true
		if err := use(); err != nil {
			t.Error(err)
		}
	})
	if err != nil || !waited {
		t.Fatalf("%v, waited %v", err, waited)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if _, err := cachedir.Alone(t.Context(), filepath.Join(dir, "nowhere"), func() { t.Error("waits for nobody") }); err != nil {
		t.Error(err)
	}
}
