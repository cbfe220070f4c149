// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package embedpython

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/bundle"
)

// TestWrite converts every platform; Write itself compares the sha256.
func TestWrite(t *testing.T) {
	t.Parallel()
	dir, err := Module(t.Context())
	if errors.Is(err, bundle.ErrUnreachable) {
		t.Skipf("the module is not in the cache and cannot be downloaded: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range Outputs() {
		t.Run(out.Platform, func(t *testing.T) {
			t.Parallel()
			pr, pw := io.Pipe()
			go func() { pw.CloseWithError(Write(t.Context(), dir, out.Platform, pw)) }()
			counted := &counter{r: pr}
			check(t, tar.NewReader(counted))
			if _, err := io.Copy(io.Discard, counted); err != nil {
				t.Fatal(err)
			}
			if counted.n != out.Size {
				t.Errorf("size %d, want %d", counted.n, out.Size)
			}
		})
	}
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// check holds the tar to the shape of a python-build-standalone archive.
func check(t *testing.T, tr *tar.Reader) {
	t.Helper()
	var last string
	seen := map[string]*tar.Header{}
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name <= last || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.ModTime.Unix() != mtime {
			t.Errorf("%s after %s: order, owner or time: %+v", h.Name, last, h)
		}
		if strings.HasPrefix(h.Name, "python/bin/pip") {
			t.Errorf("%s: dead script", h.Name)
		}
		last, seen[h.Name] = h.Name, h
	}
	if h := seen["python/bin/python3.12"]; h == nil || h.Typeflag != tar.TypeReg || h.Mode != 0o755 {
		t.Errorf("bin/python3.12: %+v", h)
	}
	if h := seen["python/bin/python3"]; h == nil || h.Typeflag != tar.TypeSymlink || h.Linkname != "python3.12" {
		t.Errorf("bin/python3: %+v", h)
	}
	if h := seen["python/lib/python3.12/os.py"]; h == nil || h.Mode != 0o644 {
		t.Errorf("lib/python3.12/os.py: %+v", h)
	}
	if h := seen["python/lib/libpython3.12.so.1.0"]; h != nil && h.Size > 60<<20 {
		t.Errorf("libpython has %d bytes: not cut", h.Size)
	}
}

func TestFindUnknown(t *testing.T) {
	t.Parallel()
	_, err := Find("plan9/386")
	if !errors.Is(err, bundle.ErrUnsupportedHost) || !strings.Contains(err.Error(), "linux/arm64") {
		t.Errorf("got %v", err)
	}
}

// TestConvertHostileIndex refuses a name that leaves the tree.
func TestConvertHostileIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "files.json"), []byte(`{"files":[{"name":"../../etc/passwd","perm":420}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := convert(t.Context(), dir, io.Discard); err == nil {
		t.Error("accepted")
	}
}

// TestCutELFRefuses names bytes that are no ELF file.
func TestCutELFRefuses(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{
		"empty": nil,
		"text":  bytes.Repeat([]byte("#!/bin/sh\n"), 100),
		"magic": append([]byte("\x7fELF\x02\x01"), make([]byte, 200)...),
	} {
		if _, _, err := cutELF(bytes.NewReader(data)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
