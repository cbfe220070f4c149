// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/metalpack/metalpack/bundle"
)

// TestServerWrites (HOSTILE D5): what a server writes to the directory that it was
// given does not reach the store. No file there is a hard link, none lies in the
// store but weights, and what those became is found before they are served again.
func TestServerWrites(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := pull(t, s, newModel(t, `{"model_type":"a"}`), "x")
	before := storeBytes(t, s)
	dir, err := s.Materialize(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Type() == fs.ModeSymlink {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Nlink != 1 || info.Mode().Perm()&0o222 != 0 {
			t.Errorf("%s: %v, a hard link or writable", path, info.Mode())
		}
		// A server of the same user can help itself to the permission.
		return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("evil"), 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range storeBytes(t, s) {
		if !bytes.Equal(data, before[path]) {
			t.Errorf("%s changed in the store", path)
		}
	}
	again, err := s.Materialize(t.Context(), m)
	if data, rerr := os.ReadFile(filepath.Join(again, "config.json")); err != nil || rerr != nil || string(data) != `{"model_type":"a"}` {
		t.Errorf("served again: %q, %v, %v", data, err, rerr)
	}
	weights, err := os.OpenFile(filepath.Join(again, "model.safetensors"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = weights.WriteAt([]byte("evil"), weightSize)
	if err := errors.Join(err, weights.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = s.Materialize(t.Context(), m)
	if damage, ok := errors.AsType[*DamagedError](err); !ok || damage.Blob != weightBlob(s, m) {
		t.Errorf("got %v", err)
	}
}

func storeBytes(t *testing.T, s *Store) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestStoreOfAnother (HOSTILE D7): a store, or a part of it, that belongs to another
// user. Only root can give a directory away.
func TestStoreOfAnother(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	for _, part := range []string{"", "blobs", "blobs/sha256", "manifests", "manifests/sha256"} {
		s := newStore(t)
		pull(t, s, newModel(t, `{}`), "x")
		if err := os.Chown(filepath.Join(s.dir, part), 12345, -1); err != nil {
			t.Skip(err)
		}
		if _, err := Open(s.dir, t.TempDir()); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "belongs to another user (uid 12345)") {
			t.Errorf("%q: %v", part, err)
		}
	}
}
