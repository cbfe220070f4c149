// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
)

// entry is an index entry for a platform with a floor.
func entry(os, arch, floor string, zstd bool) bundle.Descriptor {
	d := bundle.DescriptorOf(bundle.MediaTypeManifest, fmt.Append(nil, os, arch, floor, zstd))
	d.Platform = &ocispec.Platform{OS: os, Architecture: arch}
	d.Annotations = map[string]string{}
	if os == "darwin" {
		d.Platform.OSVersion = floor
	} else {
		d.Annotations[bundle.AnnotationFloor] = "glibc " + floor
	}
	if zstd {
		d.Annotations[bundle.AnnotationZstd] = "true"
	}
	return d
}

func TestSelectManifest(t *testing.T) {
	t.Parallel()
	mac15, mac15z, mac26 := entry("darwin", "arm64", "15.0", false), entry("darwin", "arm64", "15.0", true), entry("darwin", "arm64", "26.0", false)
	linux, linuxz := entry("linux", "amd64", "2.35", false), entry("linux", "amd64", "2.35", true)
	index := &ocispec.Index{Manifests: []bundle.Descriptor{mac15, mac26, linux, mac15z, linuxz}}
	for name, tt := range map[string]struct {
		host bundle.Platform
		want bundle.Descriptor
	}{
		"zstd over gzip":               {bundle.Platform{OS: "darwin", Arch: "arm64", MacOS: "15.4"}, mac15z},
		"higher floor over zstd":       {bundle.Platform{OS: "darwin", Arch: "arm64", MacOS: "26.1"}, mac26},
		"unknown version passes":       {bundle.Platform{OS: "darwin", Arch: "arm64"}, mac26},
		"glibc of exactly the floor":   {bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.35"}, linuxz},
		"numbers, not text (2.4<2.35)": {bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.100"}, linuxz},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := bundle.SelectManifest(index, tt.host)
			if err != nil || got.Digest != tt.want.Digest {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	for name, tt := range map[string]struct {
		host bundle.Platform
		want string
	}{
		"other platform": {bundle.Platform{OS: "windows", Arch: "amd64"}, "linux/amd64 (glibc 2.35)"},
		"too old":        {bundle.Platform{OS: "darwin", Arch: "arm64", MacOS: "14.7"}, "needs macOS"},
		"old glibc":      {bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.4"}, "needs glibc 2.35"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := bundle.SelectManifest(index, tt.host)
			if !errors.Is(err, bundle.ErrUnsupportedHost) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSelectManifestRefuses(t *testing.T) {
	t.Parallel()
	host := bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.40"}
	twin := entry("linux", "amd64", "2.35", true)
	twin.Digest = bundle.DescriptorOf("", []byte("other")).Digest
	bare, nested := entry("linux", "amd64", "2.35", false), entry("linux", "amd64", "2.35", false)
	bare.Platform, nested.MediaType = nil, bundle.MediaTypeIndex
	for name, entries := range map[string][]bundle.Descriptor{
		"two alike":   {entry("linux", "amd64", "2.35", true), twin},
		"no platform": {bare},
		"nested":      {nested},
	} {
		if _, err := bundle.SelectManifest(&ocispec.Index{Manifests: entries}, host); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// manifest is a good manifest after edit changed it.
func manifest(tb testing.TB, edit func(*ocispec.Manifest)) []byte {
	tb.Helper()
	m := &ocispec.Manifest{
		MediaType: bundle.MediaTypeManifest,
		Config:    bundle.DescriptorOf(bundle.MediaTypeConfig, []byte("{}")),
		Layers:    []bundle.Descriptor{bundle.DescriptorOf(bundle.MediaTypeLayerGzip, []byte("layer"))},
	}
	m.SchemaVersion = 2
	edit(m)
	data, err := json.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestParseManifest(t *testing.T) {
	t.Parallel()
	good := string(manifest(t, func(*ocispec.Manifest) {}))
	if m, err := bundle.ParseManifest([]byte(good)); err != nil || len(m.Layers) != 1 {
		t.Fatalf("got %+v, %v", m, err)
	}
	edited := func(edit func(*ocispec.Manifest)) string { return string(manifest(t, edit)) }
	for name, in := range map[string]string{
		"empty":                  "",
		"not an object":          "[]",
		"two documents":          good + good,
		"trailing bytes":         good + "x",
		"key twice":              strings.Replace(good, "{", `{"schemaVersion":2,`, 1),
		"layers in another case": strings.TrimSuffix(good, "}") + `,"Layers":[]}`,
		"schema in another case": strings.Replace(good, "{", `{"SchemaVersion":2,`, 1),
		"digest in another case": strings.Replace(good, `"digest":`, `"Digest":"sha256:x","digest":`, 1),
		"bad UTF-8":              strings.Replace(good, "sha256", "sha\xff56", 1),
		"too deep":               strings.Replace(good, "{", `{"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+",", 1),
		"schema 1":               strings.Replace(good, `"schemaVersion":2`, `"schemaVersion":1`, 1),
		"size as a float":        strings.Replace(good, `"size":2`, `"size":1e3`, 1),
		"size over int64":        strings.Replace(good, `"size":2`, `"size":9223372036854775808`, 1),
		"an index":               edited(func(m *ocispec.Manifest) { m.MediaType = bundle.MediaTypeIndex }),
		"negative size":          edited(func(m *ocispec.Manifest) { m.Layers[0].Size = -1 }),
		"size 2^62":              edited(func(m *ocispec.Manifest) { m.Layers[0].Size = 1 << 62 }),
		"digest escapes":         edited(func(m *ocispec.Manifest) { m.Layers[0].Digest = "sha256:../../x" }),
		"digest upper case":      edited(func(m *ocispec.Manifest) { m.Layers[0].Digest = "sha256:AA" + m.Layers[0].Digest[9:] }),
		"sha512":                 edited(func(m *ocispec.Manifest) { m.Config.Digest = "sha512:" + "aa" }),
		"no media type":          edited(func(m *ocispec.Manifest) { m.Layers[0].MediaType = "" }),
		"foreign layer":          edited(func(m *ocispec.Manifest) { m.Layers[0].URLs = []string{"https://x.example"} }),
		"too many layers":        edited(func(m *ocispec.Manifest) { m.Layers = make([]bundle.Descriptor, bundle.MaxLayers+1) }),
		"no config":              edited(func(m *ocispec.Manifest) { m.Config = bundle.Descriptor{} }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := bundle.ParseManifest([]byte(in)); !errors.Is(err, bundle.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestParseIndexCaps(t *testing.T) {
	t.Parallel()
	x := ocispec.Index{MediaType: bundle.MediaTypeIndex}
	x.SchemaVersion = 2
	for i := range bundle.MaxIndexEntries + 1 {
		x.Manifests = append(x.Manifests, entry("linux", "amd64", fmt.Sprint("2.", i), false))
	}
	data, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.ParseIndex(data); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// TestHugeManifests (M4): four megabytes of descriptors that say nothing would
// take a hundred times as much.
func TestHugeManifests(t *testing.T) {
	t.Parallel()
	nothing := strings.Repeat(",{}", 1<<17)[1:]
	for name, parse := range map[string]func([]byte) error{
		"manifests": func(b []byte) error { _, err := bundle.ParseIndex(b); return err },
		"layers":    func(b []byte) error { _, err := bundle.ParseManifest(b); return err },
		"probes":    func(b []byte) error { _, err := bundle.ParseEnvironment(b); return err },
	} {
		err := parse([]byte(`{"version":1,"schemaVersion":2,"` + name + `":[` + nothing + `]}`))
		if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "more than 131072 values at byte ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add(manifest(f, func(*ocispec.Manifest) {}))
	f.Add([]byte(`{"schemaVersion":2,"schemaVersion":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := bundle.ParseManifest(data)
		if err != nil {
			if !errors.Is(err, bundle.ErrInvalid) {
				t.Errorf("not ErrInvalid: %v", err)
			}
			return
		}
		for _, d := range m.Layers {
			if bundle.CheckDescriptor(d) != nil {
				t.Errorf("accepted %+v", d)
			}
		}
	})
}
