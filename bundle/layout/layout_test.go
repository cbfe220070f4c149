// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/layout"
)

func parse(t *testing.T, s string) bundle.Reference {
	t.Helper()
	ref, err := bundle.ParseDestination(s, "")
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// write pushes an index with one manifest and one layer, and tags it.
func write(t *testing.T, dst bundle.Target, content, tag string) bundle.Descriptor {
	t.Helper()
	push := func(mediaType string, data []byte) bundle.Descriptor {
		desc := bundle.DescriptorOf(mediaType, data)
		if err := dst.Push(t.Context(), desc, bundle.BytesOpener(data)); err != nil {
			t.Fatal(err)
		}
		return desc
	}
	m := ocispec.Manifest{MediaType: bundle.MediaTypeManifest, Config: push(bundle.MediaTypeConfig, []byte("{}")), Layers: []bundle.Descriptor{push(bundle.MediaTypeLayerGzip, []byte(content))}}
	m.SchemaVersion = 2
	manifest := push(bundle.MediaTypeManifest, encode(t, m))
	manifest.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	x := ocispec.Index{MediaType: bundle.MediaTypeIndex, Manifests: []bundle.Descriptor{manifest}}
	x.SchemaVersion = 2
	root := push(bundle.MediaTypeIndex, encode(t, x))
	if tag != "" {
		if err := dst.Tag(t.Context(), root, tag); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// put writes one artifact and commits it.
func put(t *testing.T, ref bundle.Reference, content, tag string) bundle.Descriptor {
	t.Helper()
	w, err := layout.Create(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	root := write(t, w, content, tag)
	if err := errors.Join(w.Commit(t.Context()), w.Close()); err != nil {
		t.Fatal(err)
	}
	return root
}

func resolve(t *testing.T, ref bundle.Reference, name string) (bundle.Descriptor, error) {
	t.Helper()
	r, err := layout.Open(ref)
	if err != nil {
		return bundle.Descriptor{}, err
	}
	d, err := r.Resolve(t.Context(), name)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	return d, err
}

func places(t *testing.T) map[string]bundle.Reference {
	t.Helper()
	return map[string]bundle.Reference{
		"directory": parse(t, "oci:"+filepath.Join(t.TempDir(), "layout")),
		"archive":   parse(t, "oci-archive:"+filepath.Join(t.TempDir(), "file.tar")),
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := resolve(t, ref, ""); !errors.Is(err, bundle.ErrNotFound) {
				t.Errorf("nothing there: got %v", err)
			}
			one := put(t, ref, "one", "v1")
			for _, name := range []string{"", "v1", one.Digest.String()} {
				got, err := resolve(t, ref, name)
				if diff := cmp.Diff(one, got); err != nil || diff != "" {
					t.Errorf("%q: %v %s", name, err, diff)
				}
			}
			two := put(t, ref, "two", "v2")
			if _, err := resolve(t, ref, ""); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), `"v1", "v2"`) {
				t.Errorf("two artifacts: got %v", err)
			}
			if got, err := resolve(t, ref, "v1"); err != nil || got.Digest != one.Digest {
				t.Errorf("the first was not kept: %v, %v", got, err)
			}
			put(t, ref, "two", "v1") // moves the tag
			if got, err := resolve(t, ref, ""); err != nil || got.Digest != two.Digest {
				t.Errorf("after the move: %v, %v", got, err)
			}
			if _, err := resolve(t, ref, "v3"); !errors.Is(err, bundle.ErrNotFound) || !strings.Contains(err.Error(), `"v1", "v2"`) {
				t.Errorf("unknown: got %v", err)
			}
		})
	}
}

func TestOpenAtOffset(t *testing.T) {
	t.Parallel()
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			put(t, ref, "0123456789", "v1")
			r, err := layout.Open(ref)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			blob := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, []byte("0123456789"))
			for _, offset := range []int64{0, 4, 10} {
				rc, err := r.Open(t.Context(), blob, offset)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(rc)
				if string(got) != "0123456789"[offset:] || err != nil {
					t.Errorf("offset %d: %q, %v", offset, got, err)
				}
				_ = rc.Close()
			}
			if _, err := r.Open(t.Context(), blob, 11); !errors.Is(err, bundle.ErrInvalid) {
				t.Errorf("past the end: %v", err)
			}
			blob.Size = 9
			if _, err := r.Open(t.Context(), blob, 0); !errors.Is(err, bundle.ErrMismatch) {
				t.Errorf("other size: %v", err)
			}
			gone := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, []byte("gone"))
			if _, err := r.Open(t.Context(), gone, 0); !errors.Is(err, bundle.ErrNotFound) {
				t.Errorf("missing: %v", err)
			}
			for want, desc := range map[bool]bundle.Descriptor{true: bundle.DescriptorOf(bundle.MediaTypeLayerGzip, []byte("0123456789")), false: blob} {
				if ok, err := r.Exists(t.Context(), desc); ok != want || err != nil {
					t.Errorf("%d bytes: there %v, %v", desc.Size, ok, err)
				}
			}
			if ok, err := r.Exists(t.Context(), gone); ok || err != nil {
				t.Errorf("missing: there %v, %v", ok, err)
			}
		})
	}
}

func TestNothingShowsBeforeCommit(t *testing.T) {
	t.Parallel()
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old := put(t, ref, "old", "v1")
			w, err := layout.Create(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			write(t, w, "new", "v1")
			if got, err := resolve(t, ref, "v1"); err != nil || got.Digest != old.Digest {
				t.Errorf("before commit: %v, %v", got, err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if got, err := resolve(t, ref, "v1"); err != nil || got.Digest != old.Digest {
				t.Errorf("after giving up: %v, %v", got, err)
			}
			if ref.Transport == bundle.TransportArchive {
				left, err := os.ReadDir(filepath.Dir(ref.Path))
				if err != nil || len(left) != 1 {
					t.Errorf("left behind: %v, %v", left, err)
				}
			}
		})
	}
}

func TestPushWrongBytes(t *testing.T) {
	t.Parallel()
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := layout.Create(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			desc := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, []byte("right"))
			for _, wrong := range []string{"wrong", "righ", "right!"} {
				if err := w.Push(t.Context(), desc, bundle.BytesOpener([]byte(wrong))); !errors.Is(err, bundle.ErrMismatch) {
					t.Errorf("%q: got %v", wrong, err)
				}
			}
			if ok, err := w.Exists(t.Context(), desc); ok || err != nil {
				t.Errorf("exists: %v, %v", ok, err)
			}
			if err := w.Tag(t.Context(), desc, "v1"); !errors.Is(err, bundle.ErrNotFound) {
				t.Errorf("tag: %v", err)
			}
			if err := w.Tag(t.Context(), desc, "../v1"); !errors.Is(err, bundle.ErrInvalid) {
				t.Errorf("tag: %v", err)
			}
		})
	}
}

func TestReferrers(t *testing.T) {
	t.Parallel()
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := layout.Create(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			root := write(t, w, "one", "v1")
			m := ocispec.Manifest{MediaType: bundle.MediaTypeManifest, ArtifactType: "application/x.note", Config: bundle.DescriptorOf(bundle.MediaTypeConfig, []byte("{}")), Layers: []bundle.Descriptor{}, Subject: &root}
			m.SchemaVersion = 2
			data := encode(t, m)
			note := bundle.DescriptorOf(bundle.MediaTypeManifest, data)
			if err := errors.Join(w.Push(t.Context(), note, bundle.BytesOpener(data)), w.Commit(t.Context()), w.Close()); err != nil {
				t.Fatal(err)
			}
			r, err := layout.Open(ref)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got, err := r.Referrers(t.Context(), root)
			if err != nil || len(got) != 1 || got[0].Digest != note.Digest || got[0].ArtifactType != "application/x.note" {
				t.Errorf("got %v, %v", got, err)
			}
			if got, err := r.Resolve(t.Context(), ""); err != nil || got.Digest != root.Digest {
				t.Errorf("a referrer counts as an artifact: %v, %v", got, err)
			}
		})
	}
}

// TestDeterministic: the order of writing does not show.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.tar"), filepath.Join(dir, "b.tar")
	put(t, parse(t, "oci-archive:"+a), "one", "v1")
	put(t, parse(t, "oci-archive:"+a), "two", "v2")
	put(t, parse(t, "oci-archive:"+b), "three", "v1") // replaced below
	put(t, parse(t, "oci-archive:"+b), "two", "v2")
	put(t, parse(t, "oci-archive:"+b), "one", "v1")
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Error("the same artifacts in two archives differ")
	}
}

// TestConcurrentCommits: no writer loses the tag of another.
func TestConcurrentCommits(t *testing.T) {
	t.Parallel()
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var wg sync.WaitGroup
			for i := range 6 {
				wg.Go(func() { put(t, ref, fmt.Sprint("content ", i), fmt.Sprint("v", i)) })
			}
			wg.Wait()
			for i := range 6 {
				if _, err := resolve(t, ref, fmt.Sprint("v", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
