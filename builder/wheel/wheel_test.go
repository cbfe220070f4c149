// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

const site = "lib/python3.12/site-packages/"

func open(data []byte, file string, waive ...string) (*Wheel, error) {
	var o Options
	for _, rule := range waive {
		o.Waive = append(o.Waive, Waiver{Rule: rule})
	}
	return Open(bytes.NewReader(data), int64(len(data)), file, o)
}

// read opens every file and checks it against what the plan says.
func read(t *testing.T, files []File) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, f := range files {
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(rc)
		if err := errors.Join(err, rc.Close()); err != nil {
			t.Fatal(err)
		}
		if d := bundle.DescriptorOf("x", data); d.Size != f.Size || d.Digest.Encoded() != f.SHA256 {
			t.Errorf("%s: %s of %d bytes, planned %s of %d", f.Path, d.Digest, d.Size, f.SHA256, f.Size)
		}
		got[fmt.Sprintf("%o %s", f.Mode, f.Path)] = string(data)
	}
	return got
}

func TestFiles(t *testing.T) {
	t.Parallel()
	data := wheeltest.Build("De.mo-x", "1.0+cpu", map[string]string{
		"demo/__init__.py":                               "x = 1\n",
		"demo/_native.so":                                "\x00elf",
		"demo/test/big.py":                               "stripped\n",
		"de.mo_x-1.0+cpu.data/scripts/tool":              "#!python\nprint(1)\n",
		"de.mo_x-1.0+cpu.data/scripts/shell":             "#!/bin/sh\n",
		"de.mo_x-1.0+cpu.data/scripts/run-script.py":     "shadowed",
		"de.mo_x-1.0+cpu.data/data/share/man/demo.1":     "man",
		"de.mo_x-1.0+cpu.data/headers/demo.h":            "#pragma once",
		"de.mo_x-1.0+cpu.data/platlib/demo/platform.txt": "plat",
		"De.mo_x-1.0+cpu.dist-info/INSTALLER":            "pip\n",
	}, wheeltest.Options{
		EntryPoints: "[console_scripts]\nrun = demo.cli:App.main [extra]\n; note\n[other]\nx = y\n",
		Modes:       map[string]fs.FileMode{"demo/_native.so": 0o755},
	})
	if _, err := open(data, "De.mo_x-1.0+cpu-py3-none-any.whl"); err == nil || !strings.Contains(err.Error(), ".data") {
		t.Fatalf("a .data directory of another spelling: %v", err)
	}
	data = wheeltest.Build("demo", "1.0", map[string]string{
		"demo/__init__.py":                    "x = 1\n",
		"demo/_native.so":                     "\x00elf",
		"demo/test/big.py":                    "stripped\n",
		"demo-1.0.data/scripts/tool":          "#!python\nprint(1)\n",
		"demo-1.0.data/scripts/shell":         "#!/bin/sh\n",
		"demo-1.0.data/scripts/run-script.py": "shadowed",
		"demo-1.0.data/data/share/demo.1":     "man",
		"demo-1.0.data/headers/demo.h":        "#pragma once",
		"demo-1.0.data/platlib/demo/p.txt":    "plat",
		"demo-1.0.dist-info/direct_url.json":  "{}",
	}, wheeltest.Options{
		EntryPoints: "[console_scripts]\nrun = demo.cli:App.main [extra]\n; note\n[other]\nx = y\n",
		Modes:       map[string]fs.FileMode{"demo/_native.so": 0o755},
	})
	w, err := open(data, "demo-1.0-py3-none-any.whl")
	if err != nil {
		t.Fatal(err)
	}
	files, err := w.Files(func(p string) bool { return strings.Contains(p, "/test/") })
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, files)
	head := "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")/python3.12\" -I -B \"$0\" \"$@\"\n' '''\n"
	info := "644 " + site + "demo-1.0.dist-info/"
	record := got[info+"RECORD"]
	delete(got, info+"RECORD")
	want := map[string]string{
		"644 " + site + "demo/__init__.py":   "x = 1\n",
		"755 " + site + "demo/_native.so":    "\x00elf",
		"644 " + site + "demo/p.txt":         "plat",
		"755 bin/tool":                       head + "print(1)\n",
		"755 bin/shell":                      "#!/bin/sh\n",
		"755 bin/run":                        head + "import sys\nfrom demo.cli import App\nif __name__ == \"__main__\": sys.exit(App.main())\n",
		"644 share/demo.1":                   "man",
		"644 include/python3.12/demo/demo.h": "#pragma once",
		info + "INSTALLER":                   "metalpack\n",
		info + "METADATA":                    got[info+"METADATA"],
		info + "WHEEL":                       got[info+"WHEEL"],
		info + "entry_points.txt":            got[info+"entry_points.txt"],
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var paths []string
	for line := range strings.Lines(record) {
		p, _, _ := strings.Cut(line, ",")
		paths = append(paths, p)
	}
	wantPaths := []string{
		"../../../bin/run", "../../../bin/shell", "../../../bin/tool", "../../../include/python3.12/demo/demo.h", "../../../share/demo.1",
		"demo-1.0.dist-info/INSTALLER", "demo-1.0.dist-info/METADATA", "demo-1.0.dist-info/RECORD", "demo-1.0.dist-info/WHEEL",
		"demo-1.0.dist-info/entry_points.txt", "demo/__init__.py", "demo/_native.so", "demo/p.txt",
	}
	if d := cmp.Diff(wantPaths, paths); d != "" {
		t.Error(d)
	}
	if !strings.Contains(record, "demo-1.0.dist-info/RECORD,,\n") || !strings.Contains(record, "demo/_native.so,sha256=") {
		t.Error(record)
	}
}

// TestLauncherRuns runs a launcher through a symlink and a path with a blank.
func TestLauncherRuns(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("realpath"); err != nil {
		t.Skip("no realpath")
	}
	dir := filepath.Join(t.TempDir(), "a b", "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	python := "#!/bin/sh\necho \"$@\"\n"
	for name, content := range map[string]string{"python3.12": python, "run": string(launcher("3.12", "demo.cli", "main"))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(dir, "run"), link); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), link, "x y").CombinedOutput()
	if want := "-I -B " + link + " x y\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
}

func TestWaivers(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"demo.pth": "import x\n", "sitecustomize.py": "", "demo/__pycache__/a.cpython-312.pyc": "x", "demo/sourceless.pyc": "y",
	}
	data := wheeltest.Build("demo", "1.0", files, wheeltest.Options{
		Record: func(s string) string { return strings.Replace(s, "demo.pth,", "gone.pth,", 1) },
	})
	w, err := open(data, "demo-1.0-py3-none-any.whl", Rules()...)
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.Files(nil)
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, all)
	for _, p := range []string{"demo.pth", "sitecustomize.py", "demo/sourceless.pyc"} {
		if _, ok := got["644 "+site+p]; !ok {
			t.Errorf("%s is not installed", p)
		}
	}
	if len(got) != 3+4 {
		t.Errorf("installed %d files", len(got))
	}
	if _, err := open(data, "demo-1.0-py3-none-any.whl", "everything"); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("unknown rule: %v", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for file, ok := range map[string]bool{
		"demo-1.0-py3-none-any.whl": true, "demo-1.0-1abc-py3-none-any.whl": true, "De.mo-1.0-cp312-abi3-macosx_11_0_arm64.whl": true,
		"demo-1.0-py3-none-any.zip": false, "demo-1.0.whl": false, "demo-x-py3-none-any.whl": false, "demo-1.0-x-py3-none-any.whl": false, "../demo-1.0-py3-none-any.whl": false,
	} {
		if _, _, err := splitFileName(file); (err == nil) != ok {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, c := range []struct {
		file, other string
		want        bool
	}{{"1.0", "1.0", true}, {"1.0+cpu", "1.0", true}, {"1.0", "1.0.0", true}, {"1.0", "1.0+cpu", false}, {"1.0", "1.1", false}} {
		if got := sameVersion(c.file, c.other); got != c.want {
			t.Errorf("sameVersion(%s, %s) = %v", c.file, c.other, got)
		}
	}
}
