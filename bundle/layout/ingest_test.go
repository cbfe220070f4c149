// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/layout"
)

// once opens a stream, and then no more.
func once(t *testing.T, rc io.ReadCloser) bundle.Opener {
	t.Helper()
	return func(context.Context) (io.ReadCloser, error) {
		if rc == nil {
			t.Error("read twice")
		}
		defer func() { rc = nil }()
		return rc, nil
	}
}

func text(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }

func create(t *testing.T, ref bundle.Reference) *layout.Writer {
	t.Helper()
	w, err := layout.Create(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// TestIngest: a blob of unknown digest is read once and is what an artifact is
// made of; one as large as was there before is left to whoever knows its digest.
func TestIngest(t *testing.T) {
	t.Parallel()
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content := strings.Repeat("0123456789", 100_000)
			w := create(t, ref)
			for _, s := range []string{content, "X" + content[1:], ""} { // two are as large
				d, err := w.Ingest(t.Context(), "file", int64(len(s)), once(t, text(s)))
				if err != nil || d != digest.FromString(s) {
					t.Errorf("%s, %v", d, err)
				}
			}
			if ok, err := w.Exists(t.Context(), bundle.DescriptorOf(bundle.MediaTypeLayerGzip, []byte(content))); !ok || err != nil {
				t.Errorf("%v, %v", ok, err)
			}
			root := write(t, w, content, "v1")
			if err := w.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			again := create(t, ref)
			open := func(context.Context) (io.ReadCloser, error) { return nil, errors.New("opened") }
			if d, err := again.Ingest(t.Context(), "file", int64(len(content)), open); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s, %v", d, err)
			}
			r, err := layout.Open(ref)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(bundle.Copy(t.Context(), r, sink{}, root, bundle.CopyOptions{}), r.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestIngestFails: what is not taken whole leaves nothing.
func TestIngestFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	ctx, cancel := context.WithCancelCause(t.Context())
	for name, c := range map[string]struct {
		ctx  context.Context
		rc   io.ReadCloser
		want error
	}{
		"grown":     {t.Context(), text("longer"), bundle.ErrMismatch},
		"shrunk":    {t.Context(), text("abc"), bundle.ErrMismatch},
		"broken":    {t.Context(), io.NopCloser(io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken))), broken},
		"cancelled": {ctx, io.NopCloser(io.MultiReader(strings.NewReader("ab"), readerFunc(func([]byte) (int, error) { cancel(broken); return 1, nil }))), broken},
		"bad clone": {t.Context(), &cloner{content: "abcde", clone: "abc"}, bundle.ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ref := parse(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
			w := create(t, ref)
			d, err := w.Ingest(c.ctx, "the file", 5, once(t, c.rc))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "the file") || d != "" {
				t.Errorf("%s, %v", d, err)
			}
			if left, err := os.ReadDir(filepath.Join(ref.Path, "blobs", "sha256")); err != nil || len(left) != 0 {
				t.Errorf("%v, %v", left, err)
			}
		})
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// cloner is a file on a file system with clones, or without if clone is "".
type cloner struct {
	content, clone string
	r              io.Reader
	written        int // of the content itself
}

func (c *cloner) Read(p []byte) (int, error) {
	if c.r == nil {
		c.r = strings.NewReader(c.content)
	}
	n, err := c.r.Read(p)
	if c.clone == "" {
		c.written += n
	}
	return n, err
}

func (c *cloner) CloneTo(path string) error {
	if c.clone == "" {
		return errors.ErrUnsupported
	}
	c.r = strings.NewReader(c.clone)
	return os.WriteFile(path, []byte(c.clone), 0o600)
}

func (*cloner) Close() error { return nil }

// TestCloned: where a file can be cloned its clone is what is hashed and kept,
// whatever the file is meanwhile; else it is copied.
func TestCloned(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]*cloner{"clone": {content: "other", clone: "clone"}, "other": {content: "other"}} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			ref := parse(t, "oci:"+filepath.Join(t.TempDir(), "layout"))
			open := func(ctx context.Context) (io.ReadCloser, error) { // as it is when progress is told
				rc, err := once(t, c)(ctx)
				return bundle.WithProgress(rc, bundle.Event{}, nil), err
			}
			d, err := create(t, ref).Ingest(t.Context(), "file", 5, open)
			if err != nil {
				t.Fatal(err)
			}
			blob := filepath.Join(ref.Path, "blobs", "sha256", digest.FromString(want).Encoded())
			got, err := os.ReadFile(blob)
			info, serr := os.Stat(blob)
			if err := errors.Join(err, serr); err != nil || string(got) != want || d != digest.FromString(want) || info.Mode().Perm() != 0o444 {
				t.Errorf("%q, %s, %v, %v", got, d, info, err)
			}
			if c.clone != "" && c.written != 0 {
				t.Errorf("%d bytes of the file were read", c.written)
			}
		})
	}
}

// TestIngestTogether: two writers that take the same blob both have it.
func TestIngestTogether(t *testing.T) {
	t.Parallel()
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content := strings.Repeat("0123456789", 100_000)
			writers := map[string]*layout.Writer{"a": create(t, ref), "b": create(t, ref)}
			var g errgroup.Group
			for tag, w := range writers {
				g.Go(func() error {
					_, err := w.Ingest(t.Context(), "file", int64(len(content)), bundle.BytesOpener([]byte(content)))
					if err != nil && !errors.Is(err, errors.ErrUnsupported) { // the other one may have been first
						return err
					}
					write(t, w, content, tag)
					return w.Commit(t.Context())
				})
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			r, err := layout.Open(ref)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			for tag := range writers {
				root, err := r.Resolve(t.Context(), tag)
				if err == nil {
					err = bundle.Copy(t.Context(), r, sink{}, root, bundle.CopyOptions{})
				}
				if err != nil {
					t.Errorf("%s: %v", tag, err)
				}
			}
		})
	}
}
