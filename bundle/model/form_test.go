// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
)

// Artifacts of others, by what other readers make of their form.
func TestLintForm(t *testing.T) {
	t.Parallel()
	const docker = "application/vnd.docker.ai."
	retype := func(path, mediaType string) func(*ocispec.Manifest) {
		return func(m *ocispec.Manifest) {
			for i := range m.Layers {
				if m.Layers[i].Annotations[bundle.AnnotationFilepath] == path {
					m.Layers[i].MediaType = mediaType
				}
			}
		}
	}
	titles := func(with string) func(*ocispec.Manifest) {
		return func(m *ocispec.Manifest) {
			for i := range m.Layers {
				if delete(m.Layers[i].Annotations, bundle.AnnotationTitle); with != "" {
					m.Layers[i].Annotations[bundle.AnnotationTitle] = with
				}
			}
		}
	}
	older := func(m *ocispec.Manifest) {
		m.ArtifactType = strings.Replace(m.ArtifactType, "cncf", "cnai", 1)
		m.Config.MediaType = strings.Replace(m.Config.MediaType, "cncf", "cnai", 1)
		for i := range m.Layers {
			m.Layers[i].MediaType = strings.Replace(m.Layers[i].MediaType, "cncf", "cnai", 1)
		}
	}
	tests := []struct {
		name   string
		flavor Flavor
		change func(*ocispec.Manifest)
		want   []string // rule severity file, and a part of the message
	}{
		{"our own", FlavorModelPack, func(*ocispec.Manifest) {}, nil},
		{"our own, Docker's", FlavorDocker, func(*ocispec.Manifest) {}, nil},
		{"the older names", FlavorModelPack, older, []string{"form warning ", "Docker Model Runner refuses it"}},
		{"no artifactType", FlavorModelPack, func(m *ocispec.Manifest) { m.ArtifactType = "" }, []string{"form warning ", "drops config.json and the tokenizer"}},
		{"v0.1", FlavorDocker, func(m *ocispec.Manifest) { m.Config.MediaType = ConfigTypeDockerV01 }, []string{"form warning ", "names are lost"}},
		{"JSON as a template", FlavorDocker, retype("chat_template.json", docker+"chat.template.jinja"), []string{"form warning chat_template.json", "it is not Jinja"}},
		{"no titles", FlavorModelPack, titles(""), []string{"form warning README.md", "oras leaves the file out"}},
		{"other titles", FlavorModelPack, titles("x"), []string{"form warning README.md", "oras writes the file there"}},
		{"archives", FlavorModelPack, retype("README.md", modelPackPrefix+"doc.v1.tar"), []string{"form error ", "no engine finds the files"}},
	}
	dir := writeModel(t, t.TempDir(), map[string]string{"chat_template.json": `{"chat_template":"x"}`})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := build(t, dir, Options{Flavor: tt.flavor})
			m, err := bundle.ParseManifest(a.manifest)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(m)
			if a.manifest, err = json.Marshal(m); err != nil {
				t.Fatal(err)
			}
			a.model.Root.Digest, a.model.Root.Size = digest.FromBytes(a.manifest), int64(len(a.manifest))
			findings, err := LintArtifact(t.Context(), a, a.Root(), Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range findings {
				got = append(got, f.Rule+" "+string(f.Severity)+" "+f.File, f.Message)
			}
			if len(got) == 2 && len(tt.want) == 2 && strings.Contains(got[1], tt.want[1]) {
				got[1] = tt.want[1]
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// How many tensors there are is counted, whatever a header says of it.
func TestTensorCount(t *testing.T) {
	t.Parallel()
	header := `{"__metadata__":{"format":"mlx","tensor_count":"9"},` + weights[1:]
	a := build(t, writeModel(t, t.TempDir(), map[string]string{"model.safetensors": string(safetensors(header, 72))}), Options{Flavor: FlavorDocker})
	if want := `"safetensors":{"format":"mlx","tensor_count":"3"}`; !strings.Contains(string(a.config), want) {
		t.Errorf("%s has not %s", a.config, want)
	}
}

// A layer over 10 GB is a warning: nobody knows of all registries what they take.
func TestLintLayerSize(t *testing.T) {
	t.Parallel()
	for size, want := range map[int64]bool{largeLayer: false, largeLayer + 1: true} {
		s := &scan{files: []*file{{path: "model.safetensors", kind: KindWeight, size: size}}}
		if s.lintFiles(t.Context()); s.found(RuleSize) != want {
			t.Errorf("%d bytes: %v", size, s.findings)
		}
	}
}
