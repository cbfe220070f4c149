// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// published is a model in the registry.
type published struct {
	format  string // modelpack or docker
	source  string // directory
	weights string // name of the first file of weights
	ref     string // repository:tag
	digest  string // of its manifest
}

// publishModels writes the tiny model, and one in two shards and with
// directories in it, and builds both into the registry, in both formats.
func (s *stage) publishModels(t *testing.T) {
	t.Helper()
	for _, name := range []string{"tiny", "nested"} {
		source, weights := filepath.Join(s.dir, name), "model.safetensors"
		s.run(t, s.devtool(), "tinymodel", "-o", source)
		if name == "nested" {
			weights = split(t, source)
			write(t, filepath.Join(source, "extra", "deep", "notes.json"), `{"deep":true}`)
			write(t, filepath.Join(source, "chat_template.jinja"), "{% for tool in tools %}<tool_call>{{ tool }}</tool_call>{% endfor %}")
		}
		ref := s.registry + "/ai/" + name + ":latest"
		out := s.run(t, s.program("metalpack"), "model", "build", source, "-o", "docker://"+ref, "--format", "both",
			"--source", "https://huggingface.co/metalpack/"+name, "--license", "Apache-2.0")
		modelpack, docker, _ := strings.Cut(out, "\n")
		s.models = append(s.models,
			published{"modelpack", source, weights, ref, digestOf(t, modelpack)},
			published{"docker", source, weights, ref + "-docker", digestOf(t, docker)})
	}
}

// name tells a model from the others in the names of tests.
func (m published) name() string { return filepath.Base(m.source) + " " + m.format }

// eachModel lets a judge look at every model.
func (s *stage) eachModel(t *testing.T, judge func(*testing.T, published)) {
	t.Helper()
	for _, m := range s.models {
		t.Run(m.name(), func(t *testing.T) {
			t.Parallel()
			judge(t, m)
		})
	}
}

// same wants a directory to hold the model's files, with their bytes, and no
// other.
func (m published) same(t *testing.T, who, dir string) {
	t.Helper()
	want := readDir(t, m.source)
	if diff := cmp.Diff(want, readDir(t, dir)); diff != "" {
		t.Errorf("%s: %s differs from the source (-want +got):\n%s", m.name(), who, diff)
		return
	}
	t.Logf("%s: %s: %d files have the source's bytes", m.name(), who, len(want))
}

// split makes two shards and their index of the weights in a directory, and
// returns the name of the first.
func split(t *testing.T, dir string) (first string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	type tensor struct {
		Dtype   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"` //nolint:tagliatelle // safetensors spells it so
	}
	size := binary.LittleEndian.Uint64(data)
	var tensors map[string]tensor
	if err := json.Unmarshal(data[8:8+size], &tensors); err != nil {
		t.Fatal(err)
	}
	delete(tensors, "__metadata__")
	names, where := slices.Sorted(maps.Keys(tensors)), map[string]string{}
	for i, half := range [][]string{names[:len(names)/2], names[len(names)/2:]} {
		var bytes []byte
		header := map[string]tensor{}
		file := fmt.Sprintf("model-%05d-of-00002.safetensors", i+1)
		for _, name := range half {
			one := tensors[name]
			start := len(bytes)
			bytes = append(bytes, data[8+size:][one.Offsets[0]:one.Offsets[1]]...)
			one.Offsets = [2]int{start, len(bytes)}
			header[name], where[name] = one, file
		}
		text := marshal(t, header)
		write(t, filepath.Join(dir, file), string(binary.LittleEndian.AppendUint64(nil, uint64(len(text))))+text+string(bytes))
	}
	write(t, filepath.Join(dir, "model.safetensors.index.json"), marshal(t, map[string]any{"metadata": map[string]any{}, "weight_map": where}))
	if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	return where[names[0]]
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// annotations are those of the model's manifest, as crane reads them.
func (s *stage) annotations(t *testing.T, m published) map[string]string {
	t.Helper()
	var manifest struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal([]byte(s.tool(t, "crane", "manifest", m.ref)), &manifest); err != nil {
		t.Fatal(err)
	}
	return manifest.Annotations
}
