// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"strings"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
)

// hostileFiles are wheels in good archives whose files or metadata are wrong.
func hostileFiles() map[string][]byte {
	py := func(name string) []byte { return build(map[string]string{name: "x"}, wheeltest.Options{}) }
	swap := func(old, repl string) []byte {
		return record(func(s string) string {
			if !strings.Contains(s, old) {
				panic("no " + old)
			}
			return strings.Replace(s, old, repl, 1)
		})
	}
	entry := func(s string) []byte { return build(nil, wheeltest.Options{EntryPoints: s}) }
	about := func(s string) []byte { return build(nil, wheeltest.Options{Wheel: s}) }
	return map[string][]byte{
		"Z6 quoted absolute":                     swap("demo.py,", `"/demo.py",`),
		"Z6 not clean":                           swap("demo.py,", "././demo.py,"),
		"Z6 backslash":                           swap("demo.py,", `.\demo.py,`),
		"Z6 another case":                        swap("demo.py,", "Demo.py,"),
		"Z6 four fields":                         swap(",6\n", ",6,\n"),
		"Z6 two fields":                          swap(",6\n", "\n"),
		"Z6 negative size":                       swap(",6\n", ",-6\n"),
		"Z6 size in hex":                         swap(",6\n", ",0x6\n"),
		"Z6 short hash":                          swap("sha256=", "sha256=AAAA"),
		"Z6 not CSV":                             swap("demo.py,", `demo".py,`),
		"Z6 NUL":                                 swap("demo.py,", "demo.py\x00,"),
		"Z6 empty":                               record(func(string) string { return "" }),
		"Z6 RECORD missing":                      patch(patch(good(), "RECORD", "RECORX", 0), "RECORD", "RECORX", 0),
		"Z7 pth in upper case":                   py("evil.PTH"),
		"Z7 pth without a name":                  py(".pth"),
		"Z7 pth through data":                    py("demo-1.0.data/data/lib/python3.12/site-packages/evil.pth"),
		"Z7 pth through platlib":                 py("demo-1.0.data/platlib/evil.pth"),
		"Z7 native sitecustomize":                py("sitecustomize.cpython-312-darwin.so"),
		"Z7 pyvenv in bin":                       py("demo-1.0.data/scripts/pyvenv.cfg"),
		"Z7 build marker":                        py("demo-1.0.data/scripts/pybuilddir.txt"),
		"Z7 build marker in data":                py("demo-1.0.data/data/bin/pybuilddir.txt"),
		"Z8 library as an archive":               py("demo-1.0.data/data/lib/python312.zip"),
		"Z8 library as a directory of that name": py("demo-1.0.data/data/lib/python312.zip/os.py"),
		"Z8 library in another case":             py("demo-1.0.data/data/LIB/Python3.12/os.py"),
		"Z8 egg-info of another":                 py("torch-9.0.egg-info/entry_points.txt"),
		"Z8 egg-info as a file":                  py("torch-9.0.egg-info"),
		"Z8 dist-info as a file":                 py("torch-9.0.dist-info"),
		"Z8 two files at one place":              build(map[string]string{"demo.py": "x", "demo-1.0.data/purelib/demo.py": "x"}, wheeltest.Options{}),
		"Z8 a script and an entry point":         build(map[string]string{"demo-1.0.data/data/bin/run": "x"}, wheeltest.Options{EntryPoints: "[console_scripts]\nrun = a:b\n"}),
		"Z8 headers parent":                      py("demo-1.0.data/headers/../x.h"),
		"Z8 data is a file":                      py("demo-1.0.data/scripts"),
		"Z8 data of another":                     py("other-1.0.data/scripts/x"),
		"Z8 scripts activate":                    py("demo-1.0.data/scripts/activate.fish"),
		"Z8 entry point without a name":          entry("[console_scripts]\n = a:b\n"),
		"Z8 entry point absolute":                entry("[console_scripts]\n/bin/sh = a:b\n"),
		"Z8 entry point activate":                entry("[console_scripts]\nactivate = a:b\n"),
		"Z8 entry point hidden parent":           entry("[console_scripts]\n.. = a:b\n"),
		"Z8 entry point quote":                   entry("[console_scripts]\nx = a:b\"\n"),
		"Z8 entry point import":                  entry("[console_scripts]\nx = a import os:b\n"),
		"Z8 entry point twice":                   entry("[console_scripts]\nx = a:b\nx = a:c\n"),
		"Z8 window python":                       entry("[gui_scripts]\npythonw = a:b\n"),
		"Z8 endless line":                        entry("[console_scripts]\n#" + strings.Repeat("x", 1<<17)),
		"Z8 wheel version missing":               about("Root-Is-Purelib: true\n"),
		"Z8 wheel version is none":               about("Wheel-Version: 1.x\nRoot-Is-Purelib: true\n"),
		"Z8 wheel version twice":                 about("Wheel-Version: 1.0\nWheel-Version: 1.0\nRoot-Is-Purelib: true\n"),
		"Z8 purelib missing":                     about("Wheel-Version: 1.0\n"),
		"Z8 purelib maybe":                       about("Wheel-Version: 1.0\nRoot-Is-Purelib: maybe\n"),
		"Z9 stale byte code":                     py("torch/__pycache__/__init__.cpython-312.pyc"),
		"Z9 byte code without a source":          py("torch.pyc"),
		"Z9 byte code of another case":           py("torch/__PyCache__/__init__.cpython-312.PYC"),
	}
}
