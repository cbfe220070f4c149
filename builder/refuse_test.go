// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/builder/wheel"
	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

// rawTar is an archive of one entry beside a good interpreter.
func rawTar(t *testing.T, h tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	if err := tw.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	if err := tw.Flush(); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), wheeltest.Interpreter("darwin", "arm64", nil)...)
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change func(t *testing.T, in *Input)
		want   error
		text   string
	}{
		"name":          {func(_ *testing.T, in *Input) { in.Name = "../x" }, bundle.ErrInvalid, "name"},
		"gzip level":    {func(_ *testing.T, in *Input) { in.Gzip = 12 }, bundle.ErrInvalid, "gzip level 12"},
		"zstd level":    {func(_ *testing.T, in *Input) { in.Zstd = "max" }, bundle.ErrInvalid, `"max"`},
		"no codec":      {func(_ *testing.T, in *Input) { in.Gzip, in.Zstd = -1, "none" }, bundle.ErrInvalid, "neither"},
		"strip pattern": {func(_ *testing.T, in *Input) { in.Strip = []string{"[a"} }, bundle.ErrInvalid, "[a"},
		"waiver": {func(_ *testing.T, in *Input) {
			in.Decisions = []bundle.Decision{{Kind: "waive", Package: "x", Rule: "all"}}
		}, bundle.ErrInvalid, `"all"`},
		"wheel size":         {func(_ *testing.T, in *Input) { in.Wheels[1].Size++ }, bundle.ErrMismatch, "package small"},
		"wheel missing":      {func(_ *testing.T, in *Input) { in.Wheels[1].Path += "x" }, os.ErrNotExist, "small-1.0"},
		"wheel of other":     {func(_ *testing.T, in *Input) { in.Wheels[1].Name = "else" }, bundle.ErrInvalid, "package else"},
		"package twice":      {func(_ *testing.T, in *Input) { in.Wheels = append(in.Wheels, in.Wheels[0]) }, bundle.ErrInvalid, "one package"},
		"interpreter sha256": {func(_ *testing.T, in *Input) { in.Interpreter.SHA256 = strings.Repeat("0", 64) }, bundle.ErrMismatch, "cpython.tar"},
		"machine":            {func(_ *testing.T, in *Input) { in.Platform.Arch = "amd64" }, bundle.ErrInvalid, "darwin/arm64, want darwin/amd64"},
		"wheels of many files": {func(t *testing.T, in *Input) {
			t.Helper()
			in.Parallel, in.budget = 1, wheel.NewBudget(36, 0)
			addWheel(t, in, "zz", nil, wheeltest.Options{})
		}, bundle.ErrInvalid, "zz-1.0-py3-none-any.whl: central directory: with its 3 entries the wheels of this environment have more than 36"},
		"wheels of long names": {func(t *testing.T, in *Input) {
			t.Helper()
			in.Parallel, in.budget = 1, wheel.NewBudget(0, 10<<10)
			addWheel(t, in, "zz", map[string]string{strings.Repeat("n", 200): "", strings.Repeat("n", 199): ""}, wheeltest.Options{EntryPoints: "[console_scripts]\n" + strings.Repeat("zz = a:b\n", 1000)})
		}, bundle.ErrInvalid, "zz-1.0-py3-none-any.whl: zz-1.0.dist-info/entry_points.txt: with 9018 bytes of it the metadata of all wheels of this environment has more than 10240"},
		"python version": {func(_ *testing.T, in *Input) { in.PythonVersion = "3.13" }, bundle.ErrInvalid, "bin/python3.13"},
		"Z9 case variant": {func(t *testing.T, in *Input) {
			t.Helper()
			addWheel(t, in, "evil", map[string]string{"Small.py": "evil"}, wheeltest.Options{})
		}, bundle.ErrInvalid, "evil-1.0-py3-none-any.whl"},
		"Z9 file over directory": {func(t *testing.T, in *Input) {
			t.Helper()
			addWheel(t, in, "evil", map[string]string{"big": "evil"}, wheeltest.Options{})
		}, bundle.ErrInvalid, "evil-1.0-py3-none-any.whl"},
		"Z9 stdlib name": {func(t *testing.T, in *Input) {
			t.Helper()
			addWheel(t, in, "evil", map[string]string{"abc/__init__.py": "evil"}, wheeltest.Options{})
		}, bundle.ErrInvalid, "standard library"},
		"Z9 stale byte code": {func(t *testing.T, in *Input) {
			t.Helper()
			addWheel(t, in, "evil", map[string]string{"small.pyc": "evil"}, wheeltest.Options{})
		}, bundle.ErrInvalid, "pycache"},
		"Z9 overwrites": {func(t *testing.T, in *Input) {
			t.Helper()
			addWheel(t, in, "evil", map[string]string{"small.py": "evil"}, wheeltest.Options{})
		}, bundle.ErrInvalid, "evil-1.0-py3-none-any.whl and small-1.0-py3-none-any.whl"},
	}
	for _, h := range []tar.Header{
		{Name: "python/l", Typeflag: tar.TypeLink, Linkname: "python/bin/python3.12"},
		{Name: "python/l", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		{Name: "python/l", Typeflag: tar.TypeSymlink, Linkname: "../../x"},
		{Name: "python/../x", Typeflag: tar.TypeReg},
		{Name: "other/x", Typeflag: tar.TypeReg},
		{Name: "python/f", Typeflag: tar.TypeFifo},
		{Name: "python/bin/python3", Typeflag: tar.TypeReg},
		{Name: "python/lib", Typeflag: tar.TypeSymlink, Linkname: "bin"},
		{Name: "python/share/l", Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("x", bundle.MaxPath+1)}, // which is stripped
	} {
		cases["interpreter entry "+string(h.Typeflag)+" "+h.Name+" "+h.Linkname] = struct {
			change func(t *testing.T, in *Input)
			want   error
			text   string
		}{func(t *testing.T, in *Input) { t.Helper(); setInterpreter(t, in, rawTar(t, h)) }, bundle.ErrInvalid, "cpython.tar"}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := input(t)
			c.change(t, &in)
			_, err := NewPlan(t.Context(), in)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v; want %v and %q", err, c.want, c.text)
			}
		})
	}
}

// TestDecisions: a winner owns the path and the loser's RECORD loses the row; an
// excluded package is not there; all is recorded.
func TestDecisions(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"small", "late"} {
		in := input(t)
		addWheel(t, &in, "late", map[string]string{"small.py": "other", "late.py": ""}, wheeltest.Options{})
		in.Decisions = []bundle.Decision{
			{Kind: DecisionWinner, Package: side, Path: "small.py", Reason: "because"},
			{Kind: DecisionExclude, Package: "another", Reason: "not needed"},
		}
		p := newPlan(t, in)
		e, _ := p.Tree.Find(site + "small.py")
		if want := layerOf(side, 1); e.Layer != want {
			t.Errorf("%s wins, but the file is in %s", side, e.Layer)
		}
		if _, there := p.Tree.Find(site + "another.py"); there || len(p.Environment.Packages) != 3 {
			t.Error("the excluded package is there")
		}
		if len(p.Environment.Decisions) != 2 || p.Environment.Decisions[0].Kind != DecisionExclude {
			t.Errorf("%+v", p.Environment.Decisions)
		}
		v, err := p.Build(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		a, err := Assemble([]*Variant{v})
		if err != nil {
			t.Fatal(err)
		}
		data, err := a.Manifest(t.Context(), a.Root())
		if err != nil {
			t.Fatal(err)
		}
		x, err := bundle.ParseIndex(data)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, l := range manifest(t, a, x.Manifests[0]).Layers {
			readLayer(t, a, l, got)
		}
		for _, name := range []string{"small", "late"} {
			if has := strings.Contains(got["demo/"+site+name+"-1.0.dist-info/RECORD"], "\nsmall.py,"); has != (name == side) {
				t.Errorf("%s wins: row in the RECORD of %s: %v", side, name, has)
			}
		}
	}
}

// TestBuildFindsALie: a RECORD with a wrong hash passes the plan, which does not
// inflate, and fails the build; nothing of the layer is kept.
func TestBuildFindsALie(t *testing.T) {
	t.Parallel()
	in := input(t)
	addWheel(t, &in, "liar", map[string]string{"liar.py": "x"}, wheeltest.Options{Record: func(s string) string {
		i := strings.Index(s, "liar.py,sha256=") + len("liar.py,sha256=")
		return s[:i] + strings.Repeat("A", 43) + s[i+43:]
	}})
	_, err := newPlan(t, in).Build(t.Context())
	if !errors.Is(err, bundle.ErrMismatch) || !strings.Contains(err.Error(), "liar-1.0-py3-none-any.whl: liar.py") {
		t.Errorf("%v", err)
	}
}
