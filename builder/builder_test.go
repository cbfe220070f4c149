// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

const site = "lib/python3.12/site-packages/"

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// addWheel writes a wheel and adds it to the input.
func addWheel(t *testing.T, in *Input, name string, files map[string]string, o wheeltest.Options) {
	t.Helper()
	data := wheeltest.Build(name, "1.0", files, o)
	file := wheeltest.FileName(name, "1.0", o)
	p := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(p, data, 0o600); err != nil {
		t.Fatal(err)
	}
	in.Wheels = append(in.Wheels, Wheel{Name: name, Version: "1.0", File: file, Path: p, SHA256: hexSum(data), Size: int64(len(data))})
}

// setInterpreter writes an archive for the input's platform.
func setInterpreter(t *testing.T, in *Input, data []byte) {
	t.Helper()
	p := filepath.Join(t.TempDir(), "cpython.tar")
	if err := os.WriteFile(p, data, 0o600); err != nil {
		t.Fatal(err)
	}
	in.Interpreter = Interpreter{Path: p, SHA256: hexSum(data), Version: "3.12.3"}
}

// input is an environment of three wheels.
func input(t *testing.T) Input {
	t.Helper()
	in := Input{
		Name: "demo", Release: "1.0", Platform: bundle.Platform{OS: "darwin", Arch: "arm64", MacOS: "15.0"},
		Strip:      []string{"share/**", site + "big/test/**", "lib/python3.12/tkinter/**"},
		RecipeYAML: []byte("version: 1\n"), LockTOML: []byte("lock-version = '1.0'\n"),
		CacheDir: t.TempDir(),
		Probes:   []bundle.Probe{{Import: bundle.Strings{"small"}}},
	}
	setInterpreter(t, &in, wheeltest.Interpreter("darwin", "arm64", map[string]string{
		"share/man/x":                 "man",
		"bin/pip3":                    "#!/bin/python\n",
		"bin/dead":                    "-> ../share/man/x",
		"lib/python3.12/tkinter/a.py": "tk",
	}))
	noise := strings.Repeat("0123456789abcdef", 1<<12)
	addWheel(t, &in, "Big_One", map[string]string{
		"big/__init__.py": "", "big/data.bin": strings.Repeat(noise, 20), "big/test/t.py": "stripped",
	}, wheeltest.Options{Store: true})
	addWheel(t, &in, "small", map[string]string{"small.py": "x = 1\n", "shared/a.py": "same"}, wheeltest.Options{EntryPoints: "[console_scripts]\nsmall = small:main\n"})
	addWheel(t, &in, "another", map[string]string{"another.py": "y", "shared/a.py": "same"}, wheeltest.Options{})
	return in
}

func newPlan(t *testing.T, in Input) *Plan {
	t.Helper()
	p, err := NewPlan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func assemble(t *testing.T, in Input) *Artifact {
	t.Helper()
	v, err := newPlan(t, in).Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, err := Assemble([]*Variant{v})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPlan(t *testing.T) {
	t.Parallel()
	p := newPlan(t, input(t))
	var layers []string
	for _, l := range p.Layers {
		layers = append(layers, l.Name)
	}
	if d := cmp.Diff([]string{"interpreter", layerOf("small", 1), layerOf("another", 1), "wheel/big-one", "metadata"}, layers); d != "" {
		t.Error(d)
	}
	var paths []string
	for _, e := range p.Tree.Entries {
		paths = append(paths, e.Path)
	}
	var want []string
	for _, name := range []string{"Big_One", "another", "small"} {
		for _, f := range []string{"INSTALLER", "METADATA", "RECORD", "WHEEL"} {
			want = append(want, site+name+"-1.0.dist-info/"+f)
		}
	}
	want = append(want,
		"bin/python", "bin/python3", "bin/python3.12", "bin/small",
		"lib/python3.12/EXTERNALLY-MANAGED", "lib/python3.12/abc.py", "lib/python3.12/os.py",
		site+"another.py", site+"big/__init__.py", site+"big/data.bin", site+"shared/a.py", site+"small.py", site+"small-1.0.dist-info/entry_points.txt",
		"metalpack/environment.json", "metalpack/pylock.toml", "metalpack/recipe.yaml")
	slices.Sort(want)
	if d := cmp.Diff(want, paths); d != "" {
		t.Error(d)
	}
	if e, _ := p.Tree.Find(site + "shared/a.py"); e.Layer != layerOf("another", 1) {
		t.Errorf("equal bytes belong to %s, want the first name", e.Layer)
	}
	if len(p.Environment.Packages) != 3 || p.Environment.Packages[0].Name != "another" || len(p.Environment.Layers) != 4 {
		t.Errorf("%+v", p.Environment)
	}
}

// TestBlobs reads the artifact as a client does and holds it against the tree.
func TestBlobs(t *testing.T) {
	t.Parallel()
	in := input(t)
	plan := newPlan(t, in)
	a := assemble(t, in)
	data, err := a.Manifest(t.Context(), a.Root())
	if err != nil {
		t.Fatal(err)
	}
	x, err := bundle.ParseIndex(data)
	if err != nil || len(x.Manifests) != 2 || bundle.IsZstd(x.Manifests[0]) || x.Manifests[0].Platform.OSVersion != "15.0" {
		t.Fatalf("%s, %v", data, err)
	}
	if d, err := bundle.SelectManifest(x, bundle.Platform{OS: "darwin", Arch: "arm64", MacOS: "26.1"}); err != nil || !bundle.IsZstd(d) {
		t.Errorf("selected %+v, %v", d, err)
	}
	var diffs [2][]string
	for i, entry := range x.Manifests {
		got := map[string]string{}
		m := manifest(t, a, entry)
		for _, l := range m.Layers {
			diffs[i] = append(diffs[i], readLayer(t, a, l, got))
		}
		config, err := bundle.FetchBlob(t.Context(), a, m.Config, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var image ocispec.Image
		if err := bundle.DecodeStrict(config, &image); err != nil || image.OS != "darwin" || image.Architecture != "arm64" || image.Created != nil {
			t.Errorf("config %s, %v", config, err)
		}
		var ids []string
		for _, d := range image.RootFS.DiffIDs {
			ids = append(ids, d.Encoded())
		}
		if d := cmp.Diff(ids, diffs[i]); d != "" {
			t.Error(d)
		}
		if got["demo/metalpack/tree"] != string(plan.Tree.Encode()) || m.Annotations[bundle.AnnotationTree] != plan.TreeDigest.String() {
			t.Error("the tree in the metadata layer is another")
		}
		for _, e := range plan.Tree.Entries {
			content, ok := got["demo/"+e.Path]
			if e.IsLink() && content != "-> "+e.Target || !e.IsLink() && hexSum([]byte(content)) != e.SHA256 || !ok {
				t.Errorf("%s is not what the tree says", e.Path)
			}
		}
		if len(got) != len(plan.Tree.Entries)+1 {
			t.Errorf("%d files, the tree has %d", len(got), len(plan.Tree.Entries))
		}
	}
	if d := cmp.Diff(diffs[0], diffs[1]); d != "" {
		t.Error(d)
	}
}

func manifest(t *testing.T, a *Artifact, d bundle.Descriptor) *ocispec.Manifest {
	t.Helper()
	data, err := a.Manifest(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	m, err := bundle.ParseManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// readLayer unpacks a layer into got and returns the hash of its tar stream.
func readLayer(t *testing.T, a *Artifact, d bundle.Descriptor, got map[string]string) string {
	t.Helper()
	rc, err := a.Open(t.Context(), d, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	verified := bundle.NewVerifier(rc, d)
	var plain io.Reader
	if d.MediaType == bundle.MediaTypeLayerZstd {
		z, err := zstd.NewReader(verified, zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		plain = z
	} else if plain, err = gzip.NewReader(verified); err != nil {
		t.Fatal(err)
	}
	stream, err := io.ReadAll(plain)
	if err := errors.Join(err, verified.Finish()); err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(bytes.NewReader(stream))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return hexSum(stream)
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if _, twice := got[h.Name]; twice {
			t.Errorf("%s is in two layers", h.Name)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = string(content)
		if h.Typeflag == tar.TypeSymlink {
			got[h.Name] = "-> " + h.Linkname
		}
	}
}

// TestReproducible builds twice, in other directories, from files of other
// modes, in another order of the wheels, with other parallelism and interpreter
// packing.
func TestReproducible(t *testing.T) {
	t.Parallel()
	one := input(t)
	two := one
	one.Parallel, two.Parallel = 1, 7
	two.CacheDir = t.TempDir()
	two.Wheels = slices.Clone(one.Wheels)
	slices.Reverse(two.Wheels)
	for i, w := range two.Wheels {
		p := filepath.Join(t.TempDir(), rand.Text())
		data, err := os.ReadFile(w.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, 0o444); err != nil {
			t.Fatal(err)
		}
		two.Wheels[i].Path = p
	}
	a, b := assemble(t, one), assemble(t, two)
	if a.Root().Digest != b.Root().Digest {
		t.Errorf("%s and %s", a.Root().Digest, b.Root().Digest)
	}
	two.Release = "1.1"
	if c := assemble(t, two); c.Root().Digest == a.Root().Digest {
		t.Error("another release has the same digest")
	}
}

// TestGolden holds the bytes of one layer, on every machine. When the identity
// changes the tar format or the launchers did; when only a blob did, the codec.
func TestGolden(t *testing.T) {
	t.Parallel()
	p := newPlan(t, input(t))
	v, err := p.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(p.Layers, func(l Layer) bool { return l.Name == "wheel/big-one" })
	got := []string{p.Layers[i].Identity, v.layers[i].diffID.Encoded(), v.layers[i].blobs[0].desc.Digest.Encoded(), v.layers[i].blobs[1].desc.Digest.Encoded()}
	want := []string{
		"34ec2d731e69d6b647b0583434352629d4f8ecc23fde7c83de92a964bf556a5b",
		"de941bb0a052df5c30d8ec46619348a30c804bf7531d65a9bd5a7bc7900c822e",
		"2fdec19fc9615b4766c9bda01a0ca95d02ac70b74e4acc716a63196c9f5ea91c",
		"1afb5ee34f0c7f1cab24fafa9b0d70aa24804336b8f0addf4f94fb8c9446b94c",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
