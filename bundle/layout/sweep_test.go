// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/layout"
)

// leftovers returns what a killed writer would have left beside or in ref.
func leftovers(t *testing.T, ref bundle.Reference) []string {
	t.Helper()
	paths := []string{filepath.Join(ref.Path, "blobs", "sha256", ".partial-123"), filepath.Join(ref.Path, ".index.json123")}
	if ref.Transport == bundle.TransportArchive {
		dir := filepath.Join(filepath.Dir(ref.Path), "."+filepath.Base(ref.Path)+".staging-123")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		paths = []string{filepath.Join(dir, "archive.tar")}
	}
	for _, p := range paths {
		if err := os.WriteFile(p, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// TestSweep clears what killed writers left, and nothing of one that lives.
func TestSweep(t *testing.T) {
	t.Parallel()
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			put(t, ref, "one", "v1")
			stale := leftovers(t, ref)
			live, err := layout.Create(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range stale {
				if there(p) {
					t.Errorf("%s was left", p)
				}
			}
			root := write(t, live, "two", "v2")
			other, err := layout.Create(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(other.Close(), live.Commit(t.Context()), live.Close()); err != nil {
				t.Fatal(err)
			}
			if got, err := resolve(t, ref, "v2"); err != nil || got.Digest != root.Digest {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// TestSweepSparesTheLiving: while a writer is open, unfinished files may be
// its own.
func TestSweepSparesTheLiving(t *testing.T) {
	t.Parallel()
	ref := parse(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
	live, err := layout.Create(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	files := leftovers(t, ref)
	other, err := layout.Create(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range files {
		if !there(p) {
			t.Errorf("%s was taken from a living writer", p)
		}
	}
	if err := errors.Join(other.Close(), live.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestKilledAtBirth: a layout that got no further than its first file is
// taken up again.
func TestKilledAtBirth(t *testing.T) {
	t.Parallel()
	ref := parse(t, "oci:"+t.TempDir())
	if err := os.WriteFile(filepath.Join(ref.Path, "oci-layout"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	root := put(t, ref, "one", "v1")
	if got, err := resolve(t, ref, ""); err != nil || got.Digest != root.Digest {
		t.Errorf("%v, %v", got, err)
	}
}

// TestDamagedBlob: bytes of the right size that are wrong do not exist, and
// the next artifact that has the blob puts it right.
func TestDamagedBlob(t *testing.T) {
	t.Parallel()
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content := strings.Repeat("0123456789", 100)
			put(t, ref, content, "v1")
			blob := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, []byte(content))
			damage(t, ref, blob, content)
			w, err := layout.Create(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := w.Exists(t.Context(), blob); ok || err != nil {
				t.Errorf("exists: %v, %v", ok, err)
			}
			root := write(t, w, content, "v2")
			if ok, err := w.Exists(t.Context(), blob); !ok || err != nil {
				t.Errorf("once written: %v, %v", ok, err)
			}
			if err := errors.Join(w.Commit(t.Context()), w.Close()); err != nil {
				t.Fatal(err)
			}
			r, err := layout.Open(ref)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := bundle.Copy(t.Context(), r, sink{}, root, bundle.CopyOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// damage flips a byte of a blob in the place itself.
func damage(t *testing.T, ref bundle.Reference, blob bundle.Descriptor, content string) {
	t.Helper()
	path := ref.Path
	if ref.Transport == bundle.TransportLayout {
		path = filepath.Join(path, "blobs", "sha256", blob.Digest.Encoded())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wrong := strings.Replace(string(data), content, "X"+content[1:], 1)
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte(wrong), 0o600)); err != nil {
		t.Fatal(err)
	}
}
