// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
)

// pythonStub answers the first rung, compiles by making one file, and runs
// what else it is given as shell.
const pythonStub = `#!/bin/sh
case "$*" in
*compileall*) for last; do :; done; mkdir -p "$last/__pycache__"; echo code > "$last/__pycache__/a.cpython-312.pyc" ;;
*python_version*) echo "3.12.3 linux x86_64" ;;
*) eval "$4" ;;
esac
`

// memory is a source of one artifact, with a hand on its blobs.
type memory struct {
	mu    sync.Mutex
	blobs map[string][]byte
	tags  map[string]bundle.Descriptor
	opens map[string]int // by layer
	alter func(layer string, data []byte) io.Reader
}

func (m *memory) Resolve(_ context.Context, name string) (bundle.Descriptor, error) {
	d, ok := m.tags[name]
	if !ok {
		return d, bundle.ErrNotFound
	}
	return d, nil
}

func (m *memory) Manifest(_ context.Context, d bundle.Descriptor) ([]byte, error) {
	return bundle.ReadVerified(bytes.NewReader(m.blobs[d.Digest.String()]), d)
}

func (m *memory) Open(_ context.Context, d bundle.Descriptor, offset int64) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	layer := d.Annotations[bundle.AnnotationLayer]
	m.opens[layer]++
	data := m.blobs[d.Digest.String()][offset:]
	if m.alter != nil {
		return io.NopCloser(m.alter(layer, data)), nil
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (*memory) Referrers(context.Context, bundle.Descriptor) ([]bundle.Descriptor, error) {
	return nil, nil
}

func (m *memory) put(mediaType string, data []byte) bundle.Descriptor {
	d := bundle.DescriptorOf(mediaType, data)
	m.blobs[d.Digest.String()] = data
	return d
}

func (m *memory) putJSON(t *testing.T, mediaType string, v any) bundle.Descriptor {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return m.put(mediaType, data)
}

// layer adds a layer of files below env/.
func (m *memory) layer(t *testing.T, name string, files map[string]string, links map[string]string) bundle.Descriptor {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h *tar.Header, data string) {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, data); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(files)) {
		add(&tar.Header{Typeflag: tar.TypeReg, Name: "env/" + p, Mode: int64(mode(p)), Size: int64(len(files[p])), Format: tar.FormatUSTAR}, files[p])
	}
	for _, p := range slices.Sorted(maps.Keys(links)) {
		add(&tar.Header{Typeflag: tar.TypeSymlink, Name: "env/" + p, Mode: 0o777, Linkname: links[p], Format: tar.FormatUSTAR}, "")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := m.put(bundle.MediaTypeLayerZstd, z.EncodeAll(b.Bytes(), nil))
	d.Annotations = map[string]string{bundle.AnnotationLayer: name}
	return d
}

func mode(p string) uint32 {
	if strings.HasPrefix(p, "bin/") {
		return bundle.ModeExecutable
	}
	return bundle.ModeFile
}

// artifactOf returns a source of an environment of three layers.
func artifactOf(t *testing.T, release string, probes ...bundle.Probe) *memory {
	t.Helper()
	m := &memory{blobs: map[string][]byte{}, tags: map[string]bundle.Descriptor{}, opens: map[string]int{}}
	layers := map[string]map[string]string{
		"interpreter": {"bin/python3.12": pythonStub, "lib/python3.12/os.py": "the same in all"},
		"wheel/a":     {"lib/python3.12/site-packages/a/__init__.py": "release " + release, "lib/python3.12/site-packages/a/a.so": strings.Repeat("x", 1000)},
	}
	links := map[string]map[string]string{"interpreter": {"bin/python": "python3.12"}}
	env := &bundle.Environment{
		Version: 1, Name: "env", Release: release, Platform: bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.35"},
		Interpreter: bundle.Interpreter{Version: "3.12.3"}, Probes: probes,
	}
	encoded, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	layers[bundle.MetadataLayer] = map[string]string{bundle.EnvironmentPath: string(encoded)}
	tree := new(bundle.Tree)
	for name, files := range layers {
		for p, data := range files {
			sum := sha256.Sum256([]byte(data))
			tree.Entries = append(tree.Entries, bundle.TreeEntry{Path: p, Mode: mode(p), Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), Layer: name})
		}
		for p, target := range links[name] {
			tree.Entries = append(tree.Entries, bundle.TreeEntry{Path: p, Target: target, Layer: name})
		}
	}
	slices.SortFunc(tree.Entries, func(a, b bundle.TreeEntry) int { return strings.Compare(a.Path, b.Path) })
	layers[bundle.MetadataLayer][bundle.TreePath] = string(tree.Encode())
	manifest := ocispec.Manifest{MediaType: bundle.MediaTypeManifest, Config: m.put(bundle.MediaTypeConfig, []byte("{}"))}
	manifest.SchemaVersion = 2
	manifest.Annotations = map[string]string{bundle.AnnotationName: "env", bundle.AnnotationTree: bundle.TreeDigest(tree.Encode()).String()}
	for _, name := range []string{"interpreter", "wheel/a", bundle.MetadataLayer} {
		manifest.Layers = append(manifest.Layers, m.layer(t, name, layers[name], links[name]))
	}
	entry := m.putJSON(t, bundle.MediaTypeManifest, manifest)
	entry.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	entry.Annotations = map[string]string{bundle.AnnotationFloor: "glibc 2.35"}
	index := ocispec.Index{MediaType: bundle.MediaTypeIndex, Manifests: []bundle.Descriptor{entry}}
	index.SchemaVersion = 2
	m.tags["latest"] = m.putJSON(t, bundle.MediaTypeIndex, index)
	return m
}

func home(t *testing.T) *Home {
	t.Helper()
	dir := t.TempDir()
	h, err := OpenHome(func(name string) string { return map[string]string{HomeVariable: dir}[name] })
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func tryInstall(t *testing.T, h *Home, src bundle.Source) (Result, error) {
	t.Helper()
	return h.Install(t.Context(), src, "latest", "example.com/org/env", InstallOptions{Host: testHost, Events: func(e bundle.Event) { t.Log(e.Kind, e.What, e.Reason) }})
}

func mustInstall(t *testing.T, h *Home, src bundle.Source) Result {
	t.Helper()
	res, err := tryInstall(t, h, src)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// wantActive checks which release is active, sound and reached by the pointer.
func wantActive(t *testing.T, h *Home, release string) *Version {
	t.Helper()
	v, err := h.Active("env")
	if err != nil {
		t.Fatal(err)
	}
	if v.Env.Release != release || !v.Active {
		t.Errorf("active is %s, want %s", v.Env.Release, release)
	}
	report, err := h.Verify(t.Context(), "env", true, nil)
	if err != nil || report.Err() != nil {
		t.Errorf("verify: %v, %v", err, report.Err())
	}
	reached, err := filepath.EvalSymlinks(filepath.Join(h.Dir, "env/bin/python3"))
	want, werr := filepath.EvalSymlinks(filepath.Join(v.Dir, filepath.FromSlash(interpreter)))
	if err != nil || werr != nil || reached != want {
		t.Errorf("pointer leads to %s, want %s: %v %v", reached, want, err, werr)
	}
	return v
}

func staged(t *testing.T, h *Home) []string {
	t.Helper()
	entries, err := os.ReadDir(h.store(stagingDir))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
