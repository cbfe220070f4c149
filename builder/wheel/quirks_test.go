// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

// installed returns what a good wheel installs, as mode and path, without the
// prefix of site-packages.
func installed(t *testing.T, data []byte, file string) (paths []string, content map[string]string) {
	t.Helper()
	w, err := open(data, file)
	if err != nil {
		t.Fatal(err)
	}
	files, err := w.Files(nil)
	if err != nil {
		t.Fatal(err)
	}
	content = map[string]string{}
	for p, text := range read(t, files) {
		p = strings.Replace(p, site, "", 1)
		paths = append(paths, p)
		content[p] = text
	}
	slices.Sort(paths)
	return paths, content
}

// TestQuirks: what real wheels do and no rule forbids.
func TestQuirks(t *testing.T) {
	t.Parallel()
	metadata := []string{"INSTALLER", "METADATA", "RECORD", "WHEEL"}
	for name, c := range map[string]struct {
		file  string
		data  []byte
		info  string // dist-info directory
		paths []string
	}{
		"upper case and dots in the name": {
			"Zope.Demo_X-1.0-py3-none-any.whl",
			wheeltest.Build("zope.demo-X", "1.0", map[string]string{"zope.demo_X-1.0.data/headers/a.h": ""}, wheeltest.Options{}),
			"zope.demo_X-1.0.dist-info",
			[]string{"644 include/python3.12/zope-demo-x/a.h"},
		},
		"build tag and several tags": {
			"demo-1.0-2build-py2.py3-none-macosx_10_9_universal2.macosx_11_0_arm64.whl", good(),
			"demo-1.0.dist-info",
			[]string{"644 demo.py"},
		},
		"a local version in the file name alone": {
			"demo-1.0+cpu-py3-none-any.whl", good(),
			"demo-1.0.dist-info",
			[]string{"644 demo.py"},
		},
		"rows that are quoted, begin with ./ and pad their hash, with CR LF": {
			hostileName, record(func(s string) string {
				s = strings.Replace(s, "demo.py,", `"./demo.py",`, 1)
				return strings.ReplaceAll(strings.Replace(s, ",6\n", "=,6\n", 1), "\n", "\r\n")
			}),
			"demo-1.0.dist-info",
			[]string{"644 demo.py"},
		},
		"a name with a comma": {
			hostileName, build(map[string]string{"a,b.txt": "x"}, wheeltest.Options{Record: func(s string) string { return strings.Replace(s, "a,b.txt,", `"a,b.txt",`, 1) }}),
			"demo-1.0.dist-info",
			[]string{"644 a,b.txt"},
		},
		"signatures that RECORD does not list": {
			hostileName, extra(wheeltest.Member{Name: "demo-1.0.dist-info/RECORD.jws", Content: "{}"}, wheeltest.Member{Name: "demo-1.0.dist-info/RECORD.p7s"}),
			"demo-1.0.dist-info",
			[]string{"644 demo.py"},
		},
		"licenses and bills of materials": {
			hostileName, build(map[string]string{"demo-1.0.dist-info/licenses/LICENSE": "MIT", "demo-1.0.dist-info/sboms/a.cdx.json": "{}"}, wheeltest.Options{}),
			"demo-1.0.dist-info",
			[]string{"644 demo-1.0.dist-info/licenses/LICENSE", "644 demo-1.0.dist-info/sboms/a.cdx.json"},
		},
		"entry points take the places of their scripts": {
			hostileName, build(map[string]string{
				"demo-1.0.data/scripts/Run": "", "demo-1.0.data/scripts/Run.EXE": "", "demo-1.0.data/scripts/Run-Script.py": "", "demo-1.0.data/scripts/win.pya": "", "demo-1.0.data/scripts/run.py": "",
			}, wheeltest.Options{EntryPoints: "[console_scripts]\nRun = a:b\nmlx_lm.generate = a.b:c.d [x,y]\n[gui_scripts]\nwin=a:b\n[Console_Scripts]\nother = a:b\n"}),
			"demo-1.0.dist-info",
			[]string{"644 demo-1.0.dist-info/entry_points.txt", "755 bin/Run", "755 bin/mlx_lm.generate", "755 bin/run.py", "755 bin/win"},
		},
		"any bit of the three makes it executable": {
			hostileName, build(map[string]string{"a": "", "b": "", "c": ""}, wheeltest.Options{Modes: map[string]fs.FileMode{"a": 0o744, "b": 0o601, "c": 0o666 | fs.ModeSetuid}}),
			"demo-1.0.dist-info",
			[]string{"644 c", "755 a", "755 b"},
		},
		"stored, and directories of their own": {
			hostileName, extraStored(),
			"demo-1.0.dist-info",
			[]string{"644 demo/a.py"},
		},
		"ZIP64 end records": {
			hostileName, end64(good(), func(_, _ []byte) {}),
			"demo-1.0.dist-info",
			[]string{"644 demo.py"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := slices.Clone(c.paths)
			for _, f := range metadata {
				want = append(want, "644 "+c.info+"/"+f)
			}
			slices.Sort(want)
			got, _ := installed(t, c.data, c.file)
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func extraStored() []byte {
	return build(map[string]string{"demo/a.py": ""}, wheeltest.Options{Store: true, Extra: []wheeltest.Member{{Name: "demo/", Mode: fs.ModeDir | 0o755}, {Name: "empty/"}}})
}

// TestScripts: "#!python" and "#!pythonw" become launchers, other first lines stay.
func TestScripts(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for name, text := range map[string]string{"a": "#!python\nx\n", "b": "#!pythonw -u\r\nx\n", "c": "#!/usr/bin/env python3\nx\n", "d": "#!pyth", "e": "#!python"} {
		files["demo-1.0.data/scripts/"+name] = text
	}
	_, got := installed(t, build(files, wheeltest.Options{}), hostileName)
	maps.DeleteFunc(got, func(p, _ string) bool { return !strings.HasPrefix(p, "755 bin/") })
	head := prelude("3.12")
	want := map[string]string{"755 bin/a": head + "x\n", "755 bin/b": head + "x\n", "755 bin/c": "#!/usr/bin/env python3\nx\n", "755 bin/d": "#!pyth", "755 bin/e": head}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestNewer: a newer minor version of the format is read, and said.
func TestNewer(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]bool{"1": false, "1.0": false, "1.1": true, "1.10": true} {
		w, err := open(build(nil, wheeltest.Options{Wheel: "Wheel-Version: " + format + "\nRoot-Is-Purelib: false\n"}), hostileName)
		if err != nil || w.Newer != want {
			t.Errorf("%s: %v, %v", format, w.Newer, err)
		}
	}
}

// FuzzRecord: whatever is read keeps its paths inside, and comes back as it was.
func FuzzRecord(f *testing.F) {
	for _, s := range []string{"a.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\nRECORD,,\n", "\"./a,b\",,\r\n", "../x,,\n", "a,md5=x,1\n", "a,,-1\n", "a\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, err := parseRecord(data, "RECORD")
		if err != nil {
			if !errors.Is(err, bundle.ErrInvalid) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		var files []File
		want := map[string]row{}
		for p, r := range rows {
			if err := bundle.CheckPath(p); err != nil {
				t.Fatal(err)
			}
			if p != "RECORD" && r.sum != "" && r.size >= 0 {
				files = append(files, File{Path: site + p, Size: r.size, SHA256: r.sum})
				want[p] = r
			}
		}
		encoded, err := encodeRecord(files, strings.TrimSuffix(site, "/"), site+"RECORD")
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseRecord(encoded, "RECORD")
		delete(again, "RECORD")
		if d := cmp.Diff(want, again, cmp.AllowUnexported(row{})); err != nil || d != "" {
			t.Fatalf("%v\n%s", err, d)
		}
	})
}

// FuzzEntryPoints: a launcher imports and calls names, whatever the file says.
func FuzzEntryPoints(f *testing.F) {
	for _, s := range []string{"[console_scripts]\na = b:c\n", "[gui_scripts]\nmlx_lm.x = b.c:d.e [f]\n", "[console_scripts]\n../x = a:b\n", "[console_scripts]\nx = a:b()\n", "[other]\n=\n", "[console_scripts]\nx = é:ü\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		commands, err := parseEntryPoints(data, "3.12")
		if err != nil && !errors.Is(err, bundle.ErrInvalid) {
			t.Fatalf("untyped: %v", err)
		}
		for name, script := range commands {
			if err := checkCommand(name); err != nil {
				t.Fatal(err)
			}
			body, ok := strings.CutPrefix(string(script), prelude("3.12")+"import sys\nfrom ")
			if !ok || strings.Count(body, "\n") != 2 || strings.ContainsAny(body, ";\"'\\") && strings.Count(body, `"`) != 2 {
				t.Fatalf("%s:\n%s", name, script)
			}
		}
	})
}
