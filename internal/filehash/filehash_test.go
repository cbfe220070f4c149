// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package filehash_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/filehash"
)

func TestSHA256(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("abc"), 0o600), os.Symlink("file", link)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link} {
		sum, info, err := filehash.SHA256(t.Context(), path)
		if err != nil || sum != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" || info.Size() != 3 {
			t.Errorf("%s: %s, %v, %v", path, sum, info, err)
		}
	}
	cause := errors.New("enough")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	for _, c := range []struct {
		ctx  context.Context
		path string
		want error
	}{{t.Context(), dir, bundle.ErrInvalid}, {t.Context(), file + "s", fs.ErrNotExist}, {ended, file, cause}} {
		if _, _, err := filehash.SHA256(c.ctx, c.path); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.path, err, c.want)
		}
	}
}
