// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

var sum = strings.Repeat("ab", 32)

// file is the row of a good file.
func file(path string) string { return "f\t0644\t7\t" + sum + "\tbucket/00\t" + path + "\n" }

// link is the row of a good symlink.
func link(path, target string) string { return "l\t-\t0\t" + target + "\tbucket/00\t" + path + "\n" }

const treeHead = "metalpack-tree 1\n"

func TestTreeRoundTrip(t *testing.T) {
	t.Parallel()
	want := &bundle.Tree{Entries: []bundle.TreeEntry{
		{Path: "bin/python3", Target: "python3.12", Layer: "interpreter"},
		{Path: "bin/python3.12", Mode: bundle.ModeExecutable, Size: 5, SHA256: sum, Layer: "interpreter"},
		{Path: "lib/a b.py", Mode: bundle.ModeFile, SHA256: sum, Layer: "wheel/a"},
	}}
	data := want.Encode()
	got, err := bundle.ParseTree(data)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	if e, ok := got.Find("lib/a b.py"); !ok || e != want.Entries[2] {
		t.Errorf("find: %v, %v", e, ok)
	}
	if _, ok := got.Find("lib"); ok {
		t.Error("found a directory")
	}
	if got.Size() != 5 {
		t.Errorf("size %d", got.Size())
	}
	if id := bundle.VersionID(bundle.TreeDigest(data)); len(id) != 16 {
		t.Errorf("id %q", id)
	}
}

// manyDirs names sixty directories in each line: what a reader keeps of them
// would be fifty times the tree.
func manyDirs() string {
	var b strings.Builder
	for i := range bundle.MaxTreeDirs/60 + 1 {
		b.WriteString(file(fmt.Sprintf("%04d", i) + strings.Repeat("/d", 60)))
	}
	return b.String()
}

func TestParseTreeRefuses(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"no header":              file("a"),
		"other version":          "metalpack-tree 2\n",
		"last line cut":          treeHead + strings.TrimSuffix(file("a"), "\n"),
		"five fields":            treeHead + "f\t0644\t7\t" + sum + "\ta\n",
		"empty line":             treeHead + "\n",
		"carriage return":        treeHead + strings.Replace(file("a"), "\n", "\r\n", 1),
		"unsorted":               treeHead + file("b") + file("a"),
		"twice":                  treeHead + file("a") + file("a"),
		"case":                   treeHead + file("Foo") + file("foo"),
		"case of a directory":    treeHead + file("Lib/a") + file("lib/b"),
		"normalisation":          treeHead + file("cafe\u0301") + file("caf\u00e9"),
		"folding":                treeHead + file("STRASSE") + file("stra\u00dfe"),
		"ligature":               treeHead + file("fi") + file("\ufb01"),
		"file is a parent":       treeHead + file("a") + file("a/b"),
		"link is a parent":       treeHead + link("a", "b") + file("a/b"),
		"parent, sorted between": treeHead + file("a") + file("a-b") + file("a/b"),
		"path escapes":           treeHead + file("../a"),
		"absolute path":          treeHead + file("/a"),
		"link escapes":           treeHead + link("a/b", "../../c"),
		"absolute link":          treeHead + link("a", "/etc/passwd"),
		"setuid":                 treeHead + strings.Replace(file("a"), "0644", "4755", 1),
		"mode not canonical":     treeHead + strings.Replace(file("a"), "0644", "644", 1),
		"size not canonical":     treeHead + strings.Replace(file("a"), "\t7\t", "\t07\t", 1),
		"size negative":          treeHead + strings.Replace(file("a"), "\t7\t", "\t-7\t", 1),
		"size too large":         treeHead + strings.Replace(file("a"), "\t7\t", "\t9223372036854775808\t", 1),
		"sizes overflow":         treeHead + strings.Replace(file("a"), "\t7\t", "\t4398046511104\t", 1) + file("b"),
		"sha256 short":           treeHead + strings.Replace(file("a"), sum, sum[2:], 1),
		"sha256 upper case":      treeHead + strings.Replace(file("a"), sum, strings.ToUpper(sum), 1),
		"no layer":               treeHead + strings.Replace(file("a"), "bucket/00", "", 1),
		"unknown type":           treeHead + "h" + file("a")[1:],
		"too many directories":   treeHead + manyDirs(),
		"link with a size":       treeHead + strings.Replace(link("a", "b"), "\t0\t", "\t1\t", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := bundle.ParseTree([]byte(in)); !errors.Is(err, bundle.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzParseTree(f *testing.F) {
	f.Add([]byte(treeHead + file("a/b") + link("c", "a/b")))
	f.Add([]byte(treeHead))
	f.Add([]byte(treeHead + link("c", "b")))
	f.Add([]byte(treeHead + file("Lib/a") + file("lib/b")))
	f.Add([]byte(treeHead + file("a") + file("a-b") + file("a/b")))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := bundle.ParseTree(data)
		if err != nil {
			if !errors.Is(err, bundle.ErrInvalid) {
				t.Errorf("not ErrInvalid: %v", err)
			}
			return
		}
		if !bytes.Equal(tree.Encode(), data) {
			t.Error("accepted a form that is not canonical")
		}
		for _, e := range tree.Entries {
			if bundle.CheckPath(e.Path) != nil {
				t.Errorf("accepted path %q", e.Path)
			}
		}
	})
}
