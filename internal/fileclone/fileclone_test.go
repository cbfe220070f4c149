// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package fileclone_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/metalpack/metalpack/internal/fileclone"
)

// TestClone: a clone is a file of its own, whatever happens to the other; where
// there can be none nothing is left. TMPDIR on Btrfs, XFS or APFS shows the
// former.
func TestClone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, []byte("one"), 0o400); err != nil {
		t.Fatal(err)
	}
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	f, err := fileclone.Clone(src, to)
	if err != nil {
		if _, serr := os.Lstat(to); !errors.Is(serr, fs.ErrNotExist) {
			t.Errorf("something was left: %v", serr)
		}
		t.Skipf("no clones here: %v", err)
	}
	defer f.Close()
	if err := errors.Join(os.Chmod(from, 0o600), os.WriteFile(from, []byte("two"), 0o600)); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if got, err := io.ReadAll(f); err != nil || string(got) != "one" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestCloneTaken: what lies at the path stays.
func TestCloneTaken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := fileclone.Clone(src, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "mine" {
		t.Errorf("%q, %v", got, err)
	}
}
