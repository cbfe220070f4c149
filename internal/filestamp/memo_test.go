// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package filestamp_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metalpack/metalpack/internal/filestamp"
)

func stat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestMemo(t *testing.T) {
	t.Parallel()
	dir, file, sum := filepath.Join(t.TempDir(), "memo"), filepath.Join(t.TempDir(), "file"), strings.Repeat("ab", 32)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	filestamp.NewMemo(dir, stat(t, file).ModTime()).Remember(stat(t, file), sum) // written a moment ago: who knows what comes in the same tick
	later := filestamp.NewMemo(dir, time.Now().Add(time.Minute))
	if got := later.Recall(stat(t, file)); got != "" {
		t.Errorf("a fresh file was remembered: %q", got)
	}
	later.Remember(stat(t, file), sum)
	if got := later.Recall(stat(t, file)); got != sum {
		t.Errorf("got %q", got)
	}
	was := stat(t, file).ModTime()
	write("longer") // of equal size the change could lie in one tick
	if err := os.Chtimes(file, was, was); err != nil {
		t.Fatal(err)
	}
	if got := later.Recall(stat(t, file)); got != "" {
		t.Errorf("a changed file whose time was set back was recalled: %q", got)
	}
	later.Remember(stat(t, file), sum)
	records, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(records) != 1 {
		t.Fatalf("%v, %v", records, err)
	}
	for _, damage := range []string{"", "x", strings.Repeat("z", 64)} {
		if err := os.WriteFile(records[0], []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := later.Recall(stat(t, file)); got != "" {
			t.Errorf("record %q: recalled %q", damage, got)
		}
	}
}

// A directory that cannot be written remembers nothing and breaks nothing.
func TestMemoWithoutPlace(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m := filestamp.NewMemo(filepath.Join(file, "below"), time.Now().Add(time.Minute))
	m.Remember(stat(t, file), strings.Repeat("ab", 32))
	if got := m.Recall(stat(t, file)); got != "" {
		t.Errorf("got %q", got)
	}
}
