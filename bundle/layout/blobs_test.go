// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/layout"
)

// namedFile is a stream that says which file it is.
type namedFile struct{ *os.File }

func (f namedFile) FileName() string { return f.Name() }

// TestLinked: a blob that is a file already lies on the disk once; a wrong one
// is refused, whatever it is linked from.
func TestLinked(t *testing.T) {
	t.Parallel()
	ref := parse(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
	w, err := layout.Create(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	from := filepath.Join(t.TempDir(), "layer")
	for _, content := range []string{"one", "two"} {
		if err := os.WriteFile(from, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		desc := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, []byte("one"))
		if content != "one" {
			desc = bundle.DescriptorOf(bundle.MediaTypeLayerGzip, []byte("six"))
		}
		err := w.Push(t.Context(), desc, func(context.Context) (io.ReadCloser, error) {
			f, err := os.Open(from)
			return namedFile{f}, err
		})
		blob := filepath.Join(ref.Path, "blobs", "sha256", desc.Digest.Encoded())
		there, serr := os.Stat(blob)
		if content == "two" {
			if !errors.Is(err, bundle.ErrMismatch) || serr == nil {
				t.Errorf("wrong bytes: %v, %v", err, serr)
			}
			break
		}
		own, oerr := os.Stat(from)
		if err := errors.Join(err, serr, oerr); err != nil || !os.SameFile(own, there) || there.Mode().Perm() != 0o444 {
			t.Errorf("not linked: %v, %v", err, there)
		}
		if err := os.Remove(from); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(filepath.Join(ref.Path, "blobs", "sha256"))
	if err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

// TestSealed: what was written since a blob was found right is noticed, and
// what was not is not read again. Another program's blob is read once.
func TestSealed(t *testing.T) {
	t.Parallel()
	ref := parse(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
	put(t, ref, "one", "v1")
	desc := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, []byte("one"))
	blob := filepath.Join(ref.Path, "blobs", "sha256", desc.Digest.Encoded())
	exists := func() bool {
		w, err := layout.Create(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		ok, err := w.Exists(t.Context(), desc)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return ok
	}
	info, err := os.Stat(blob)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content string) {
		if err := errors.Join(os.Chmod(blob, 0o600), os.WriteFile(blob, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("two")
	if exists() {
		t.Error("a blob that was written to was not looked at")
	}
	write("one") // by another program
	if !exists() {
		t.Error("a right blob was refused")
	}
	if now, err := os.Stat(blob); err != nil || !now.ModTime().Equal(info.ModTime()) {
		t.Errorf("not sealed: %v, %v", now.ModTime(), err)
	}
	write("two")
	if err := os.Chtimes(blob, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if !exists() {
		t.Error("a sealed blob was read again")
	}
}

// TestUnchanged: to write what is there touches nothing.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	ref := parse(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
	put(t, ref, "one", "v1")
	list := func() map[string]os.FileInfo {
		all := map[string]os.FileInfo{}
		err := filepath.WalkDir(ref.Path, func(p string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				all[p], err = d.Info()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := list()
	w, err := layout.Create(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	r, err := layout.Open(ref)
	if err != nil {
		t.Fatal(err)
	}
	root, err := r.Resolve(t.Context(), "v1")
	if err == nil {
		err = bundle.Copy(t.Context(), r, w, root, bundle.CopyOptions{})
	}
	if err := errors.Join(err, w.Tag(t.Context(), root, "v1"), w.Commit(t.Context()), w.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	after := list()
	if len(after) != len(before) {
		t.Errorf("%d files, were %d", len(after), len(before))
	}
	for p, info := range before {
		if after[p] == nil || !os.SameFile(info, after[p]) || !info.ModTime().Equal(after[p].ModTime()) {
			t.Errorf("%s was written again", p)
		}
	}
}
