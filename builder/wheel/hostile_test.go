// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"maps"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

const hostileName = "demo-1.0-py3-none-any.whl"

func build(files map[string]string, o wheeltest.Options) []byte {
	return wheeltest.Build("demo", "1.0", files, o)
}

func good() []byte { return build(map[string]string{"demo.py": "x = 1\n"}, wheeltest.Options{}) }

func extra(m ...wheeltest.Member) []byte {
	return build(map[string]string{"demo.py": "x = 1\n"}, wheeltest.Options{Extra: m})
}

func record(change func(string) string) []byte {
	return build(map[string]string{"demo.py": "x = 1\n"}, wheeltest.Options{Record: change})
}

// patch replaces the nth occurrence of old, counted from 0.
func patch(data []byte, old, repl string, n int) []byte {
	at := 0
	for range n + 1 {
		i := bytes.Index(data[at:], []byte(old))
		if i < 0 {
			panic("no " + old)
		}
		at += i + 1
	}
	out := bytes.Clone(data)
	copy(out[at-1:], repl)
	return out
}

// inserted puts bytes between the members and the central directory and moves
// the pointers along, so that archive/zip sees nothing.
func inserted(data []byte) []byte {
	end := len(data) - lenEnd
	dir := int(binary.LittleEndian.Uint32(data[end+16:]))
	out := bytes.Join([][]byte{data[:dir], []byte("hidden"), data[dir:]}, nil)
	binary.LittleEndian.PutUint32(out[end+6+16:], uint32(dir+6))
	return out
}

// commented ends with a comment that holds another archive.
func commented(data []byte) []byte {
	out := append(bytes.Clone(data), data...)
	binary.LittleEndian.PutUint16(out[len(data)-2:], uint16(len(data)))
	return out
}

// locator claims a ZIP64 end record where none is.
func locator(data []byte) []byte {
	end := len(data) - lenEnd
	loc := make([]byte, lenLocator64)
	binary.LittleEndian.PutUint32(loc, sigLocator64)
	binary.LittleEndian.PutUint32(loc[16:], 1)
	return bytes.Join([][]byte{data[:end], loc, data[end:]}, nil)
}

// hostileWheels are refused when they are opened, by the row of the corpus
// that each is one of.
func hostileWheels() map[string][]byte {
	py := func(name, content string) []byte { return build(map[string]string{name: content}, wheeltest.Options{}) }
	entry := func(s string) []byte {
		return build(nil, wheeltest.Options{EntryPoints: "[console_scripts]\n" + s + "\n"})
	}
	meta := func(s string) []byte { return build(nil, wheeltest.Options{Metadata: s}) }
	swap := func(old, repl string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, repl, 1) }
	}
	return map[string][]byte{
		"Z1 parent":             py("../e.pth", "x"),
		"Z1 absolute":           py("/etc/x", "x"),
		"Z1 backslash":          py(`a\b`, "x"),
		"Z1 drive":              py("C:/x", "x"),
		"Z1 control character":  py("a\nb", "x"),
		"Z1 symlink":            build(map[string]string{"l": "/etc"}, wheeltest.Options{Modes: map[string]fs.FileMode{"l": fs.ModeSymlink | 0o777}}),
		"Z1 device":             build(map[string]string{"l": ""}, wheeltest.Options{Modes: map[string]fs.FileMode{"l": fs.ModeDevice | 0o666}}),
		"Z2 duplicate":          extra(wheeltest.Member{Name: "demo.py", Content: "y"}),
		"Z2 file and directory": extra(wheeltest.Member{Name: "demo.py/"}),
		"Z4 prefix":             append([]byte("MZ"), good()...),
		"Z4 trailing bytes":     append(good(), 0),
		"Z4 comment with a zip": commented(good()),
		"Z4 two archives":       append(good(), good()...),
		"Z4 zip64 locator":      locator(good()),
		"Z4 hidden bytes":       inserted(good()),
		"Z4 local name":         patch(good(), "demo.py", "demo.pz", 0),
		"Z4 central name":       patch(good(), "demo.py", "demo.pz", 1),
		"Z4 empty":              {},
		"Z4 not a zip":          []byte(strings.Repeat("x", 100)),
		"Z6 missing row": record(func(s string) string {
			_, rest, _ := strings.Cut(s, "demo.py,")
			return rest[strings.Index(rest, "\n")+1:]
		}),
		"Z6 unlisted file": extra(wheeltest.Member{Name: "evil.py", Content: "x"}),
		"Z6 extra row":     record(func(s string) string { return s + "gone.py,sha256=" + strings.Repeat("A", 43) + ",0\n" }),
		"Z6 empty hash":    record(swap("demo.py,sha256=", "demo.py,sha256=,6\nx.py,sha256=")),
		"Z6 row twice":     record(func(s string) string { return s + s }),
		"Z6 wrong size":    record(swap(",6\n", ",7\n")),
		"Z6 no hash": record(func(s string) string {
			i := strings.Index(s, "demo.py,") + 8
			return s[:i] + ",\n" + s[i+strings.Index(s[i:]+"\n", "\n")+1:]
		}),
		"Z6 weak hash":          record(swap("demo.py,sha256=", "demo.py,md5=")),
		"Z6 parent":             record(swap("demo.py,", "../demo.py,")),
		"Z6 absolute":           record(swap("demo.py,", "/demo.py,")),
		"Z7 pth":                py("evil.pth", "import os"),
		"Z7 sitecustomize":      py("sitecustomize.py", ""),
		"Z7 usercustomize":      py("usercustomize/__init__.py", ""),
		"Z7 pyvenv":             py("demo-1.0.data/data/pyvenv.cfg", ""),
		"Z7 _pth":               py("demo-1.0.data/data/bin/python._pth", ""),
		"Z7 pycache":            py("demo/__pycache__/a.pyc", ""),
		"Z7 case":               py("SiteCustomize.py", ""),
		"Z8 entry point path":   entry("../../bin/sh = a:b"),
		"Z8 entry point python": entry("python3.12 = a:b"),
		"Z8 entry point code":   entry("x = a:b();evil"),
		"Z8 entry point module": entry("x = a"),
		"Z8 scripts nested":     py("demo-1.0.data/scripts/a/x", ""),
		"Z8 scripts parent":     py("demo-1.0.data/scripts/../x", ""),
		"Z8 scripts python":     py("demo-1.0.data/scripts/python3", ""),
		"Z8 data python":        py("demo-1.0.data/data/bin/Python", ""),
		"Z8 data stdlib":        py("demo-1.0.data/data/lib/python3.12/os.py", ""),
		"Z8 data metadata":      py("demo-1.0.data/data/metalpack/tree", ""),
		"Z8 data other record":  py("demo-1.0.data/data/lib/python3.12/site-packages/torch-2.dist-info/RECORD", ""),
		"Z8 data own record":    py("demo-1.0.data/purelib/demo-1.0.dist-info/RECORD", ""),
		"Z8 data unknown":       py("demo-1.0.data/other/x", ""),
		"Z8 metadata name":      meta("Name: other\nVersion: 1.0\n"),
		"Z8 metadata version":   meta("Name: demo\nVersion: 2.0\n"),
		"Z8 metadata twice":     meta("Name: demo\nName: demo\nVersion: 1.0\n"),
		"Z8 two dist-info":      py("other-1.0.dist-info/x", ""),
		"Z8 dist-info name":     wheeltest.Build("other", "1.0", nil, wheeltest.Options{}),
		"Z8 wheel version":      build(nil, wheeltest.Options{Wheel: "Wheel-Version: 2.0\nRoot-Is-Purelib: true\n"}),
		"bomb":                  py("zeros.bin", strings.Repeat("\x00", 2<<20)),
	}
}

func TestHostile(t *testing.T) {
	t.Parallel()
	all := hostileWheels()
	maps.Copy(all, forgedArchives())
	maps.Copy(all, hostileFiles())
	for name, data := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := open(data, hostileName)
			if !errors.Is(err, bundle.ErrInvalid) && !errors.Is(err, bundle.ErrMismatch) {
				t.Fatalf("error %v", err)
			}
			if want := refusals()[name]; !strings.HasPrefix(err.Error(), hostileName+": ") || want == "" || !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want the wheel and %q", err, want)
			}
		})
	}
	if _, err := open(good(), hostileName); err != nil {
		t.Errorf("the wheel without a fault: %v", err)
	}
}

// TestHostileContent: what only the content shows ends the stream with an error.
func TestHostileContent(t *testing.T) {
	t.Parallel()
	lie := func(s string) string { // Z6, wrong hash
		i := strings.Index(s, "demo.py,sha256=") + len("demo.py,sha256=")
		return s[:i] + strings.Repeat("A", 43) + s[i+43:]
	}
	for name, data := range map[string][]byte{
		"Z6 wrong hash": record(lie),
		"changed bytes": patch(build(map[string]string{"demo.py": "x = 1\n"}, wheeltest.Options{Store: true}), "x = 1", "x = 2", 0),
	} {
		w, err := open(data, hostileName)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		files, err := w.Files(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if f.Path != site+"demo.py" {
				continue
			}
			rc, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.ReadAll(rc)
			if !errors.Is(err, bundle.ErrMismatch) || !strings.HasPrefix(err.Error(), hostileName+": demo.py: ") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(good())
	f.Add(extra(wheeltest.Member{Name: "a/", Content: ""}))
	f.Add(build(map[string]string{"demo-1.0.data/scripts/x": "#!python\n"}, wheeltest.Options{EntryPoints: "[console_scripts]\na = b:c\n", Store: true}))
	f.Add(locator(good()))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := open(data, hostileName)
		if err != nil {
			if !errors.Is(err, bundle.ErrInvalid) && !errors.Is(err, bundle.ErrMismatch) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		files, err := w.Files(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if err := bundle.CheckPath(file.Path); err != nil {
				t.Fatal(err)
			}
			rc, err := file.Open()
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, rc); err == nil && n != file.Size {
				t.Fatalf("%s: %d bytes, want %d", file.Path, n, file.Size)
			}
		}
	})
}
