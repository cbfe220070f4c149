// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
)

func build(t *testing.T, dir string, o Options) *Artifact {
	t.Helper()
	a, err := Build(t.Context(), Dir(dir, nil), o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The bytes of manifest and config are the format: this test changes only with
// docs/format.md.
func TestBuildBytes(t *testing.T) {
	t.Parallel()
	a := build(t, writeModel(t, t.TempDir(), map[string]string{"tokenizer_config.json": "", "chat_template.jinja": "<&>"}), Options{Allow: []string{RuleCode, RuleAutoMap}})
	var layers []string
	for _, f := range []struct{ path, kind string }{
		{"README.md", "doc"}, {"chat_template.jinja", "weight.config"}, {"config.json", "weight.config"}, {"model.safetensors", "weight"}, {"tokenizer.json", "weight.config"},
	} {
		d := a.find(f.path)
		layers = append(layers, fmt.Sprintf(`{"mediaType":"application/vnd.cncf.model.%s.v1.raw","size":%d,"digest":"%s","annotations":{"org.cncf.model.filepath":"%s","org.opencontainers.image.title":"%s"}}`,
			f.kind, d.Size, d.Digest, f.path, f.path))
	}
	config := `{"descriptor":{},"config":{"architecture":"llama","format":"safetensors","paramSize":"0.1K","precision":"float16","quantization":"4bit-g64"},"modelfs":{"type":"layers","diffIds":["` +
		strings.Join([]string{a.find("README.md").Digest.String(), a.find("chat_template.jinja").Digest.String(), a.find("config.json").Digest.String(), a.find("model.safetensors").Digest.String(), a.find("tokenizer.json").Digest.String()}, `","`) + `"]}}`
	if diff := cmp.Diff(config, string(a.config)); diff != "" {
		t.Error(diff)
	}
	want := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.cncf.model.manifest.v1+json","config":{"mediaType":"application/vnd.cncf.model.config.v1+json","size":%d,"digest":"%s"},"layers":[%s],"annotations":{"io.metalpack.model.allow":"auto-map,code","io.metalpack.model.bits":"4","io.metalpack.model.context":"512","io.metalpack.model.group-size":"64","io.metalpack.model.parameters":"128"}}`,
		len(config), digest.FromString(config), strings.Join(layers, ","))
	if diff := cmp.Diff(want, string(a.manifest)); diff != "" {
		t.Error(diff)
	}
}

func (a *Artifact) find(p string) bundle.Descriptor {
	for _, f := range a.model.Files {
		if f.Path == p {
			return f.Descriptor
		}
	}
	return bundle.Descriptor{}
}

func TestBuildIsDeterministic(t *testing.T) {
	t.Parallel()
	one, two := t.TempDir(), t.TempDir()
	a := build(t, writeModel(t, one, nil), Options{})
	writeModel(t, two, map[string]string{"notes/x.py": "code"})
	if err := os.Chmod(filepath.Join(two, "config.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(two, link); err != nil {
		t.Fatal(err)
	}
	b := build(t, link, Options{Exclude: []string{"**/*.py"}})
	if a.Root().Digest != b.Root().Digest {
		t.Errorf("%s and %s", a.manifest, b.manifest)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	src := writeModel(t, t.TempDir(), map[string]string{"sub/extra.json": "[1]"})
	a := build(t, src, Options{})
	absent, empty := filepath.Join(t.TempDir(), "deep", "new"), t.TempDir()
	for _, dir := range []string{absent, empty} {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := Pull(t.Context(), a, a.Root(), dir, PullOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Model().Files {
			want, err := os.ReadFile(filepath.Join(src, f.Path))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, f.Path)); err != nil || string(got) != string(want) {
				t.Errorf("%s: %v", f.Path, err)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), "*.partial")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	m, _, err := Read(t.Context(), a, a.Root())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.CheckServable(); err != nil {
		t.Error(err)
	}
	if m.Parameters != "128.00" || m.Context != 512 || m.Quantization != "4bit-g64" || m.Architecture != "llama" {
		t.Errorf("%+v", m)
	}
}

func TestPullOfChangedFile(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{"same size": "b model\n", "shorter": "a"} {
		src := writeModel(t, t.TempDir(), nil)
		a := build(t, src, Options{})
		if err := os.WriteFile(filepath.Join(src, "README.md"), []byte(change), 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "out")
		if err := Pull(t.Context(), a, a.Root(), dir, PullOptions{}); !errors.Is(err, bundle.ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := filepath.Glob(dir + "*/README.md"); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

func TestBuildCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, Dir(writeModel(t, t.TempDir(), nil), nil), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := Build(t.Context(), Dir(filepath.Join(t.TempDir(), "none"), nil), Options{}); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	const docker, st = "application/vnd.docker.ai.", "application/vnd.docker.ai.safetensors"
	d := func(n int) digest.Digest { return digest.FromString(strconv.Itoa(n)) }
	layer := func(n int, mediaType string, kv ...string) bundle.Descriptor {
		l := bundle.Descriptor{MediaType: mediaType, Digest: d(n), Size: 1, Annotations: map[string]string{}}
		for i := 0; i < len(kv); i += 2 {
			l.Annotations[kv[i]] = kv[i+1]
		}
		return l
	}
	path := func(n int, p string) bundle.Descriptor {
		return layer(n, layerConfig, bundle.AnnotationFilepath, p)
	}
	ids := func(key string, n ...int) string {
		var out []digest.Digest
		for _, i := range n {
			out = append(out, d(i))
		}
		data, _ := json.Marshal(out)
		return fmt.Sprintf(`{"config":{},%s%s}}`, key, data)
	}
	tests := []struct {
		name, artifact, config string
		blob                   string
		layers                 []bundle.Descriptor
		want                   string // paths and kinds, or after "!" a part of the error
	}{
		{"modelpack", ArtifactTypeModelPack, ConfigTypeModelPack, ids(`"modelfs":{"diffIds":`, 1, 2), []bundle.Descriptor{layer(1, layerWeight, bundle.AnnotationFilepath, "w.safetensors"), path(2, "config.json")}, "w.safetensors weight, config.json config"},
		{"older names", "application/vnd.cnai.model.manifest.v1+json", "application/vnd.cnai.model.config.v1+json", ids(`"modelfs":{"diff_ids":`, 1), []bundle.Descriptor{layer(1, "application/vnd.cnai.model.weight.v1.raw", legacyFilepath, "w.safetensors")}, "w.safetensors weight"},
		{"docker v0.2", "", ConfigTypeDockerV02, ids(`"rootfs":{"diff_ids":`, 1, 2), []bundle.Descriptor{layer(1, st, bundle.AnnotationFilepath, "w.safetensors"), layer(2, docker+"model.file", bundle.AnnotationFilepath, "README.md")}, "w.safetensors weight, README.md doc"},
		{"docker v0.1", "", ConfigTypeDockerV01, `{}`, []bundle.Descriptor{layer(1, st), layer(2, st), layer(3, docker+"chat.template.jinja"), layer(4, docker+"license")}, "model-00001-of-00002.safetensors weight, model-00002-of-00002.safetensors weight, template.jinja template"},
		{"docker v0.1, one file", "", ConfigTypeDockerV01, `{}`, []bundle.Descriptor{layer(1, st)}, "model.safetensors weight"},
		{"docker v0.1, gguf", "", ConfigTypeDockerV01, `{}`, []bundle.Descriptor{layer(1, docker+"gguf.v3"), layer(2, docker+"mmproj"), layer(3, docker+"license")}, "model.gguf weight, model.mmproj other"},
		{"docker v0.1, gguf in parts", "", ConfigTypeDockerV01, `{}`, []bundle.Descriptor{layer(1, docker+"gguf.v3"), layer(2, docker+"gguf.v3")}, "model-00001-of-00002.gguf weight, model-00002-of-00002.gguf weight"},
		{"equal layers", ArtifactTypeModelPack, ConfigTypeModelPack, `{}`, []bundle.Descriptor{path(1, "a.json"), path(1, "b.json")}, "a.json config, b.json config"},
		{"an image", "", bundle.MediaTypeConfig, `{}`, []bundle.Descriptor{path(1, "a")}, "!not a model"},
		{"spoofed type", "application/x", ConfigTypeModelPack, `{}`, []bundle.Descriptor{path(1, "a")}, "!artifactType"},
		{"traversal", ArtifactTypeModelPack, ConfigTypeModelPack, `{}`, []bundle.Descriptor{path(1, "../x")}, "!clean path"},
		{"one path twice", ArtifactTypeModelPack, ConfigTypeModelPack, `{}`, []bundle.Descriptor{path(1, "a"), path(2, "a")}, "!twice"},
		{"one path by case", ArtifactTypeModelPack, ConfigTypeModelPack, `{}`, []bundle.Descriptor{path(1, "a"), path(2, "A")}, "!case-insensitive"},
		{"file and directory", ArtifactTypeModelPack, ConfigTypeModelPack, `{}`, []bundle.Descriptor{path(1, "a"), path(2, "a/b")}, "!twice"},
		{"no path", ArtifactTypeModelPack, ConfigTypeModelPack, `{}`, []bundle.Descriptor{layer(1, layerWeight)}, "!no path"},
		{"archives", ArtifactTypeModelPack, ConfigTypeModelPack, ids(`"modelfs":{"diffIds":`, 1, 9), []bundle.Descriptor{path(1, "a.json"), layer(2, modelPackPrefix+"weight.v1.tar+gzip", bundle.AnnotationFilepath, "a")}, "a.json config, archive gzip"},
		{"archives of Docker", "", ConfigTypeDockerV01, `{}`, []bundle.Descriptor{layer(1, docker+"vllm.config.tar"), layer(2, docker+"dir.tar")}, "archive , archive "},
		{"archive that is not compressed", ArtifactTypeModelPack, ConfigTypeModelPack, ids(`"modelfs":{"diffIds":`, 9), []bundle.Descriptor{layer(1, modelPackPrefix+"weight.v1.tar")}, "!not compressed"},
		{"archive of another codec", ArtifactTypeModelPack, ConfigTypeModelPack, `{}`, []bundle.Descriptor{layer(1, modelPackPrefix+"weight.v1.tar+xz")}, "!not that of"},
		{"compressed", "", ConfigTypeDockerV02, ids(`"rootfs":{"diff_ids":`, 2), []bundle.Descriptor{layer(1, st, bundle.AnnotationFilepath, "a")}, "!not compressed"},
		{"diff ids count", "", ConfigTypeDockerV02, ids(`"rootfs":{"diff_ids":`, 1, 2), []bundle.Descriptor{layer(1, st, bundle.AnnotationFilepath, "a")}, "!2 diff ids"},
		{"config twice", "", ConfigTypeDockerV02, `{"config":{},"config":{}}`, nil, "!twice"},
		{"nothing", "", ConfigTypeDockerV02, `{}`, nil, "!no files"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := Parse(&ocispec.Manifest{ArtifactType: tt.artifact, Config: bundle.Descriptor{MediaType: tt.config}, Layers: tt.layers}, []byte(tt.blob))
			if part, bad := strings.CutPrefix(tt.want, "!"); bad {
				if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), part) {
					t.Fatalf("got %v, want %q", err, part)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range m.Files {
				got = append(got, f.Path+" "+string(f.Kind))
			}
			for _, a := range m.Archives {
				got = append(got, "archive "+a.Codec)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheckServable(t *testing.T) {
	t.Parallel()
	for files, want := range map[string]string{
		"config.json model.safetensors .gitattributes": "",
		"config.json model.safetensors x.py":           "is code",
		"config.json model.gguf":                       "only safetensors",
		"config.json model.safetensors x.pkl":          "not a kind",
		"model.safetensors":                            "no config.json",
	} {
		m := &Model{}
		for p := range strings.FieldsSeq(files) {
			m.Files = append(m.Files, File{Path: p, Kind: KindOf(p)})
		}
		err := m.CheckServable()
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", files, err)
		}
	}
}
