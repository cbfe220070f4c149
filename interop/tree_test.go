// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// files maps a path to "mode size sha256", or to "-> target". Directories are
// left out.
type files map[string]string

// treePath is the one file that the tree does not list.
const treePath = "metalpack/tree"

func describe(mode fs.FileMode, r io.Reader) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%04o %d %s", uint32(mode&^fs.ModeType), n, hex.EncodeToString(h.Sum(nil))), err
}

// parseTree reads metalpack/tree as docs/format.md 2.5 has it.
func parseTree(t *testing.T, text string) files {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if lines[0] != "metalpack-tree 1" {
		t.Fatalf("tree begins with %q", lines[0])
	}
	out := files{}
	for _, line := range lines[1:] {
		f := strings.Split(line, "\t")
		switch {
		case len(f) == 6 && f[0] == "f":
			out[f[5]] = f[1] + " " + f[2] + " " + f[3]
		case len(f) == 6 && f[0] == "l":
			out[f[5]] = "-> " + f[3]
		default:
			t.Fatalf("tree line %q", line)
		}
	}
	return out
}

// readDir describes what is below dir.
func readDir(t *testing.T, dir string) files {
	t.Helper()
	out := files{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.Type() == fs.ModeSymlink {
			target, lerr := os.Readlink(name)
			out[rel] = "-> " + target
			return lerr
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		out[rel], err = describe(info.Mode(), f)
		return errors.Join(err, f.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// readTar describes what is below root in a tar file, and returns the text of
// the tree in it.
func readTar(t *testing.T, name, root string) (out files, tree string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out = files{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, tree
		}
		if err != nil {
			t.Fatal(err)
		}
		rel, ok := strings.CutPrefix(path.Clean(h.Name), root+"/")
		switch {
		case h.Typeflag == tar.TypeDir:
		case !ok:
			t.Errorf("%s is outside of %s", h.Name, root)
		case h.Typeflag == tar.TypeSymlink:
			out[rel] = "-> " + h.Linkname
		case h.Typeflag == tar.TypeReg && rel == treePath:
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			tree = string(text)
		case h.Typeflag == tar.TypeReg:
			if out[rel], err = describe(h.FileInfo().Mode(), r); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%s: entry of type %q", h.Name, h.Typeflag)
		}
	}
}
