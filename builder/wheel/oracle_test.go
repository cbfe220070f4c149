// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel_test

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/builder/wheel"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/recipes"
)

// oraclePython names a Python that has pip; make oracle sets it.
const oraclePython = "METALPACK_TEST_ORACLE_PYTHON"

const oracleSite = "lib/python3.12/site-packages"

// difference is one place where we do not install what pip does, and why.
// Whatever none of them is about must be equal.
type difference struct {
	path   *regexp.Regexp // relative to the root
	reason string
	same   func(pip, ours string) string // what both must have in common: "" or what is wrong
}

var (
	installerFile = regexp.MustCompile(`^lib/python3\.12/site-packages/[^/]+\.dist-info/INSTALLER$`)
	commandFile   = regexp.MustCompile(`^bin/[^/]+$`)
	recordFile    = regexp.MustCompile(`^lib/python3\.12/site-packages/[^/]+\.dist-info/RECORD$`)
)

var differences = []difference{
	{
		path:   installerFile,
		reason: "it names the installer",
		same: func(pip, ours string) string {
			return cmp.Diff([2]string{"pip\n", "metalpack\n"}, [2]string{pip, ours})
		},
	},
	{
		path:   commandFile,
		reason: "pip writes the interpreter's absolute path into launchers; ours find the one beside them, wherever the tree lies",
		same: func(pip, ours string) string {
			return cmp.Diff(called(pip, pipHead), called(ours, ourHead))
		},
	},
	{
		path:   recordFile,
		reason: "it lists the files above with other hashes and sizes",
		same:   func(pip, ours string) string { return cmp.Diff(recordRows(pip), recordRows(ours)) },
	},
}

var (
	pipHead = regexp.MustCompile(`^#!(/\S+|/bin/sh\n'''exec' .*\n' ''')\n`)
	ourHead = regexp.MustCompile(`^#!/bin/sh\n'''exec' "\$\(dirname -- "\$\(realpath -- "\$0"\)"\)/python3\.12" -I -B "\$0" "\$@"\n' '''\n`)
	imports = regexp.MustCompile(`(?m)^from (\S+) import (\S+)$`)
	calls   = regexp.MustCompile(`sys\.exit\((.+)\(\)\)`)
)

// called cuts the head off a script: of a launcher, it returns what that
// imports and calls, of any other script the whole rest.
func called(script string, head *regexp.Regexp) []string {
	rest := script[len(head.FindString(script)):]
	if rest == script {
		return []string{"no head of a launcher: " + script}
	}
	from, call := imports.FindStringSubmatch(rest), calls.FindStringSubmatch(rest)
	if from == nil || call == nil || strings.Count(rest, "\n") > 10 {
		return []string{rest}
	}
	return []string{from[1], from[2], call[1]}
}

// recordRows returns the sorted rows of a RECORD; of a file that differs, its
// path alone.
func recordRows(text string) []string {
	all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		return []string{err.Error()}
	}
	var rows []string
	for _, f := range all {
		if p := path.Join(oracleSite, f[0]); installerFile.MatchString(p) || commandFile.MatchString(p) {
			f = f[:1]
		}
		rows = append(rows, strings.Join(f, ","))
	}
	slices.Sort(rows)
	return rows
}

// differing returns the index of the difference about a path, or -1.
func differing(p string) int {
	return slices.IndexFunc(differences, func(d difference) bool { return d.path.MatchString(p) })
}

// oracle counts what was compared.
type oracle struct {
	python string
	mu     sync.Mutex
	pip    string
	wheels int
	files  int
	used   map[int]int // files by index of their difference
}

// TestPipOracle installs every wheel of the shipped locks with pip and with
// this package and compares the trees file by file: path, executable bit, size
// and sha256.
func TestPipOracle(t *testing.T) {
	t.Parallel()
	o := &oracle{python: os.Getenv(oraclePython), used: map[int]int{}}
	if o.python == "" {
		t.Skip("make oracle starts this, with " + oraclePython + " and all wheels of the locks in the user's cache")
	}
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache := inputs.NewCache(filepath.Join(user, "metalpack", "inputs"))
	t.Cleanup(func() {
		t.Logf("pip %s: %d wheels and %d files compared", o.pip, o.wheels, o.files)
		for i, d := range differences {
			t.Logf("%d files differ as listed, %s: %s", o.used[i], d.path, d.reason)
			if o.used[i] == 0 {
				t.Errorf("no file differs as %s says: take it off the list", d.path)
			}
		}
	})
	seen := map[string]bool{}
	for _, name := range []string{"vllm-metal", "mlx-lm"} {
		r, err := recipes.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range r.Targets {
			_, _, wheels, err := lock.ForRecipe(r, target)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range wheels {
				if seen[w.SHA256] {
					continue
				}
				seen[w.SHA256] = true
				t.Run(w.File, func(t *testing.T) {
					t.Parallel()
					if _, err := os.Stat(cache.Path(w.SHA256)); w.URL != "" && errors.Is(err, fs.ErrNotExist) {
						t.Skip("a release asset that is not in the cache")
					}
					o.compare(t, w, cache.Path(w.SHA256), waived(r, w.Name))
				})
			}
		}
	}
}

// waived returns what the recipe waives for a package.
func waived(r *recipes.Recipe, name string) (out []wheel.Waiver) {
	for _, w := range r.Wheels.Waive {
		if wheel.Normalize(w.Package) == name {
			out = append(out, wheel.Waiver{Rule: w.Rule, Path: w.Path})
		}
	}
	return out
}

// compare holds the two installations of one wheel against each other.
func (o *oracle) compare(t *testing.T, w lock.Wheel, file string, waive []wheel.Waiver) {
	t.Helper()
	root := t.TempDir()
	// pip takes name and version from the name of the file.
	link := filepath.Join(t.TempDir(), w.File)
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), o.python, "-I", filepath.Join("testdata", "pip_install.py"), w.Name, link, root).CombinedOutput()
	if err != nil {
		t.Fatalf("pip: %v\n%s", err, out)
	}
	want, pipText := readRoot(t, root)
	got, ourText := readWheel(t, file, w, waive)
	if d := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); d != "" {
		t.Errorf("paths (-pip +ours):\n%s", d)
	}
	used := map[int]int{}
	for p := range want {
		i := differing(p)
		if i < 0 || want[p] == got[p] {
			if want[p] != got[p] {
				t.Errorf("%s: pip installs %s, we %s", p, want[p], got[p])
			}
			continue
		}
		used[i]++
		if pip, ours := want[p][:1], got[p][:min(1, len(got[p]))]; pip != ours {
			t.Errorf("%s: executable: pip %s, ours %s", p, pip, ours)
		}
		if d := differences[i].same(pipText[p], ourText[p]); d != "" {
			t.Errorf("%s (-pip +ours):\n%s", p, d)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pip = strings.TrimSpace(string(out))
	o.wheels++
	o.files += len(want)
	for i, n := range used {
		o.used[i] += n
	}
}

// described returns "x size sha256" of a file, or "- size sha256" of one that
// is not executable; its text too, when a difference is about it.
func described(p string, executable bool, r io.Reader) (about, text string, err error) {
	h := sha256.New()
	var b strings.Builder
	var sink io.Writer = h
	if differing(p) >= 0 {
		sink = io.MultiWriter(h, &b)
	}
	n, err := io.Copy(sink, r)
	mark := "-"
	if executable {
		mark = "x"
	}
	return fmt.Sprintf("%s %d %s", mark, n, hex.EncodeToString(h.Sum(nil))), b.String(), err
}

// readRoot describes what pip installed.
func readRoot(t *testing.T, root string) (about, text map[string]string) {
	t.Helper()
	about, text = map[string]string{}, map[string]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s: %v", name, info.Mode())
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		p := filepath.ToSlash(strings.TrimPrefix(name, root+string(filepath.Separator)))
		about[p], text[p], err = described(p, info.Mode().Perm()&0o111 != 0, f)
		return errors.Join(err, f.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	return about, text
}

// readWheel describes what this package streams, and holds it against what it
// planned.
func readWheel(t *testing.T, file string, locked lock.Wheel, waive []wheel.Waiver) (about, text map[string]string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	w, err := wheel.Open(f, info.Size(), locked.File, wheel.Options{Waive: waive})
	if err != nil {
		t.Fatal(err)
	}
	files, err := w.Files(nil)
	if err != nil {
		t.Fatal(err)
	}
	about, text = map[string]string{}, map[string]string{}
	for _, p := range files {
		rc, err := p.Open()
		if err != nil {
			t.Fatal(err)
		}
		about[p.Path], text[p.Path], err = described(p.Path, p.Mode == bundle.ModeExecutable, rc)
		if err := errors.Join(err, rc.Close()); err != nil {
			t.Fatal(err)
		}
		if planned := fmt.Sprintf(" %d %s", p.Size, p.SHA256); !strings.HasSuffix(about[p.Path], planned) {
			t.Errorf("%s: planned%s, streamed %s", p.Path, planned, about[p.Path])
		}
	}
	return about, text
}
