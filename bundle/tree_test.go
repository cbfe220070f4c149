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
	for name, c := range map[string]struct{ in, want string }{
		"no header":                  {file("a"), `line 1: want "metalpack-tree 1"`},
		"other version":              {"metalpack-tree 2\n", `line 1: want "metalpack-tree 1"`},
		"last line cut":              {treeHead + strings.TrimSuffix(file("a"), "\n"), `last line is cut`},
		"five fields":                {treeHead + "f\t0644\t7\t" + sum + "\ta\n", `line 2: 5 fields, want 6`},
		"empty line":                 {treeHead + "\n", `line 2: 1 fields, want 6`},
		"T2 carriage return":         {treeHead + strings.Replace(file("a"), "\n", "\r\n", 1), `contains a control character`},
		"unsorted":                   {treeHead + file("b") + file("a"), `"a" is not sorted after "b"`},
		"T11 twice":                  {treeHead + file("a") + file("a"), `"a" is not sorted after "a"`},
		"T12 case":                   {treeHead + file("Foo") + file("foo"), `"Foo" and "foo" are one file`},
		"T12 case of a directory":    {treeHead + file("Lib/a") + file("lib/b"), `"Lib" and "lib" are one file`},
		"T12 NFC and NFD":            {treeHead + file("cafe\u0301") + file("caf\u00e9"), `are one file on a case-insensitive disk`},
		"T13 sharp s":                {treeHead + file("STRASSE") + file("stra\u00dfe"), `are one file on a case-insensitive disk`},
		"T13 ligature":               {treeHead + file("fi") + file("\ufb01"), `are one file on a case-insensitive disk`},
		"T11 file is a parent":       {treeHead + file("a") + file("a/b"), `"a" appears twice, or as a file and a directory`},
		"T10 link is a parent":       {treeHead + link("a", "b") + file("a/b"), `"a" appears twice, or as a file and a directory`},
		"T11 parent, sorted between": {treeHead + file("a") + file("a-b") + file("a/b"), `"a" appears twice, or as a file and a directory`},
		"T2 path escapes":            {treeHead + file("../a"), `path "../a": not a clean path`},
		"T1 absolute path":           {treeHead + file("/a"), `line 2: path "/a": absolute`},
		"T3 link escapes":            {treeHead + link("a/b", "../../c"), `target leaves the artifact`},
		"T3 absolute link":           {treeHead + link("a", "/etc/passwd"), `symlink "a" -> "/etc/passwd": target is not a relative path`},
		"T17 setuid":                 {treeHead + strings.Replace(file("a"), "0644", "4755", 1), `"a": mode "4755"`},
		"mode not canonical":         {treeHead + strings.Replace(file("a"), "0644", "644", 1), `line 2: not in canonical form`},
		"size not canonical":         {treeHead + strings.Replace(file("a"), "\t7\t", "\t07\t", 1), `line 2: not in canonical form`},
		"size negative":              {treeHead + strings.Replace(file("a"), "\t7\t", "\t-7\t", 1), `"a": size "-7"`},
		"size too large":             {treeHead + strings.Replace(file("a"), "\t7\t", "\t9223372036854775808\t", 1), `"a": size "9223372036854775808"`},
		"sizes overflow":             {treeHead + strings.Replace(file("a"), "\t7\t", "\t4398046511104\t", 1) + file("b"), `line 3: files of more than 4398046511104 bytes`},
		"sha256 short":               {treeHead + strings.Replace(file("a"), sum, sum[2:], 1), `"a": sha256 "abab`},
		"sha256 upper case":          {treeHead + strings.Replace(file("a"), sum, strings.ToUpper(sum), 1), `"a": sha256 "ABAB`},
		"no layer":                   {treeHead + strings.Replace(file("a"), "bucket/00", "", 1), `"a": no layer`},
		"T6 hard link":               {treeHead + "h" + file("a")[1:], `"a": unknown type "h"`},
		"T21 too many directories":   {treeHead + manyDirs(), `more than 100000 directories`},
		"link with a size":           {treeHead + strings.Replace(link("a", "b"), "\t0\t", "\t1\t", 1), `line 2: not in canonical form`},
		"T13 Kelvin":                 {treeHead + file("k") + file("\u212a"), `are one file on a case-insensitive disk`},
		"T15 device name":            {treeHead + file("CON"), `a component is a device name`},
		"T15 trailing dot":           {treeHead + file("a."), `ends with a dot or a blank`},
		"T15 colon":                  {treeHead + file("a:b"), `a backslash or colon`},
		"T15 not UTF-8":              {treeHead + file("a\xff"), `not UTF-8`},
		"T17 world-writable":         {treeHead + strings.Replace(file("a"), "0644", "0666", 1), `"a": mode "0666"`},
		"T21 long path":              {treeHead + file(strings.Repeat("dir/", 256)+"a"), `longer than 1024 bytes`},
		"T21 long name":              {treeHead + file(strings.Repeat("a", 256)), `longer than 255 bytes`},
		"T21 deep path":              {treeHead + file(strings.Repeat("d/", 64)+"a"), `deeper than 64`},
		"T26 whiteout":               {treeHead + file(".wh.a"), `whiteouts`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := bundle.ParseTree([]byte(c.in)); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
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
