// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

// plant writes an installed tree of a few files.
func plant(t *testing.T, files map[string]string) (string, *bundle.Tree) {
	t.Helper()
	dir := t.TempDir()
	tree := new(bundle.Tree)
	for _, p := range []string{"bin/python3.12", "lib/a.py", "lib/b.py"} {
		data := files[p]
		sum := sha256.Sum256([]byte(data))
		e := bundle.TreeEntry{Path: p, Mode: bundle.ModeFile, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), Layer: "x"}
		if p == InterpreterPath {
			e.Mode = bundle.ModeExecutable
		}
		tree.Entries = append(tree.Entries, e)
		write(t, filepath.Join(dir, p), data, os.FileMode(e.Mode)&0o555)
	}
	tree.Entries = append(tree.Entries, bundle.TreeEntry{Path: "lib/l", Target: "a.py", Layer: "x"})
	if err := os.Symlink("a.py", filepath.Join(dir, "lib/l")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, bundle.TreePath), string(tree.Encode()), 0o444)
	return dir, tree
}

func write(t *testing.T, name, data string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(name)
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	dir, tree := plant(t, map[string]string{"lib/a.py": "aaa"})
	for _, deep := range []bool{false, true} {
		r := Tree(t.Context(), dir, tree, Options{Deep: deep})
		if r.Err() != nil || r.Checked != 5 {
			t.Fatalf("%+v", r)
		}
	}
}

func TestTreeDamage(t *testing.T) {
	t.Parallel()
	dir, tree := plant(t, map[string]string{"lib/a.py": "aaa", "lib/b.py": "bbb"})
	write(t, filepath.Join(dir, "lib/a.py"), "aXa", 0o444)
	if r := Tree(t.Context(), dir, tree, Options{}); r.Err() != nil {
		t.Errorf("a look at the size cannot see this: %v", r.Err())
	}
	write(t, filepath.Join(dir, "sitecustomize.py"), "", 0o444)
	write(t, filepath.Join(dir, "allowed"), "", 0o444)
	if err := os.Remove(filepath.Join(dir, "lib/b.py")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "lib/l")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "lib/l")); err != nil {
		t.Fatal(err)
	}
	r := Tree(t.Context(), dir, tree, Options{Deep: true, Allow: []string{"allowed"}})
	got := map[string]error{}
	for _, f := range r.Failures {
		got[f.Path] = f.Err
	}
	for p, want := range map[string]error{"lib/a.py": bundle.ErrMismatch, "lib/b.py": bundle.ErrNotFound, "lib/l": bundle.ErrMismatch, "sitecustomize.py": bundle.ErrInvalid} {
		if !errors.Is(got[p], want) {
			t.Errorf("%s: %v, want %v", p, got[p], want)
		}
	}
	if len(got) != 4 || !errors.Is(r.Err(), ErrDamaged) {
		t.Errorf("%v", r.Err())
	}
}

// pythonStub is an interpreter that answers by what it is asked.
const pythonStub = `#!/bin/sh
test "$1 $2 $3" = "-I -B -c" || exit 99
test -z "$METALPACK_CANARY" || exit 98
test "$(ls -A .)" = "" || exit 97
test "$PYTHONSAFEPATH" = 1 || exit 96
shift 3
case "$1" in
*python_version*) echo "3.12.3 linux x86_64" ;;
*version\(*) echo noise; echo "$VERSION" ;;
*"eval(expression"*) echo; echo "metal.Platform" ;;
*import_module*) echo imported ;;
*) eval "$1" ;;
esac
`

var host = bundle.Platform{OS: "linux", Arch: "amd64"}

func environment(probes ...bundle.Probe) *bundle.Environment {
	return &bundle.Environment{
		Name: "env", Interpreter: bundle.Interpreter{Version: "3.12.3"},
		Packages: []bundle.Package{{Name: "vllm-metal", Version: "1.0"}}, Probes: probes,
	}
}

func stub(t *testing.T, version string) string {
	t.Helper()
	dir, _ := plant(t, map[string]string{InterpreterPath: strings.Replace(pythonStub, "$VERSION", version, 1)})
	return dir
}

func TestProbes(t *testing.T) {
	t.Setenv("METALPACK_CANARY", "1")
	results, err := Probes(t.Context(), stub(t, "1.0"), environment(
		bundle.Probe{Import: bundle.Strings{"vllm_metal"}, Version: "vllm-metal"},
		bundle.Probe{Import: bundle.Strings{"a", "b"}},
		bundle.Probe{Call: "vllm_metal.register()", Equals: "metal.Platform"},
		bundle.Probe{Name: "mac", Code: "exit 1", On: "darwin"},
		bundle.Probe{Code: "echo one token"},
	), host, ProbeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range results {
		got = append(got, r.Name+": "+string(r.Status)+" "+r.Reason)
	}
	want := []string{"interpreter: passed ", "import vllm_metal: passed ", "import a, b: passed ", "vllm_metal.register(): passed ", "mac: skipped runs on darwin only", "code: passed "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if results[5].Output != "one token" {
		t.Errorf("output %q", results[5].Output)
	}
}

func TestProbesFail(t *testing.T) {
	t.Parallel()
	darwin := bundle.Platform{OS: "darwin", Arch: "arm64"}
	cases := map[string]struct {
		version string
		host    bundle.Platform
		probe   bundle.Probe
		text    string
	}{
		"wrong version": {"2.0", host, bundle.Probe{Import: bundle.Strings{"vllm_metal"}, Version: "vllm-metal"}, `vllm-metal is version "2.0", environment.json says "1.0"`},
		"unknown":       {"2.0", host, bundle.Probe{Import: bundle.Strings{"x"}, Version: "x"}, "environment.json lists no package x"},
		"other result":  {"1.0", host, bundle.Probe{Call: "x.y()", Equals: "cpu"}, `it gives "metal.Platform", want "cpu"`},
		"crash":         {"1.0", host, bundle.Probe{Code: "echo Traceback >&2; echo ImportError: no >&2; exit 1"}, "exit status 1: ImportError: no"},
		"signal":        {"1.0", host, bundle.Probe{Code: "kill -SEGV $$"}, "signal: segmentation fault"},
		"hang":          {"1.0", host, bundle.Probe{Code: "trap '' TERM; sleep 600 & sleep 600", Timeout: bundle.Duration(300 * time.Millisecond)}, "still running after 300ms"},
		"machine":       {"1.0", darwin, bundle.Probe{Code: "true"}, "it runs as linux/amd64 on darwin/arm64"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			results, err := Probes(t.Context(), stub(t, c.version), environment(c.probe, bundle.Probe{Name: "later", Code: "true"}), c.host, ProbeOptions{})
			if !errors.Is(err, ErrProbe) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
			if last := results[len(results)-1]; len(results) != 3 || last.Status != NotRun || last.Name != "later" {
				t.Errorf("got %+v", results)
			}
		})
	}
}
