// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

const weights = `{"a.weight":{"dtype":"U32","shape":[2,8],"data_offsets":[0,64]},"a.scales":{"dtype":"F16","shape":[2,1],"data_offsets":[64,68]},"a.biases":{"dtype":"F16","shape":[2,1],"data_offsets":[68,72]}}`

const lfsPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

// writeModel writes a small sound model, changed by the given files; an empty
// string leaves a file out.
func writeModel(t *testing.T, dir string, changes map[string]string) string {
	t.Helper()
	files := map[string]string{
		"config.json":           `{"model_type":"llama","max_position_embeddings":512,"quantization":{"bits":4,"group_size":64}}`,
		"tokenizer.json":        `{}`,
		"tokenizer_config.json": `{"chat_template":"{{ messages }}"}`,
		"model.safetensors":     string(safetensors(weights, 72)),
		"README.md":             "a model\n",
		".gitattributes":        "*.safetensors lfs\n",
	}
	maps.Copy(files, changes)
	for name, data := range files {
		if data == "" {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLint(t *testing.T) {
	t.Parallel()
	shard := string(safetensors(`{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1))
	tests := []struct {
		name    string
		changes map[string]string
		want    []string // rule severity file
	}{
		{"sound", nil, nil},
		{"no config", map[string]string{"config.json": ""}, []string{"config error "}},
		{"bad config", map[string]string{"config.json": `{"a":1,"a":1}`}, []string{"config error config.json"}},
		{"no tokenizer", map[string]string{"tokenizer.json": "", "tokenizer_config.json": ""}, []string{"tokenizer error ", "chat-template warning "}},
		{"no weights", map[string]string{"model.safetensors": ""}, []string{"weights error "}},
		{"bad weights", map[string]string{"model.safetensors": "0123456789abcdef"}, []string{"weights error model.safetensors"}},
		{"code", map[string]string{"modeling.py": "x", "lib/a.so": "y"}, []string{"code error lib/a.so", "code error modeling.py"}},
		{"model_file", map[string]string{"config.json": `{"model_file":"../x.py","quantization":{"bits":4,"group_size":64}}`}, []string{"model-file error config.json"}},
		{"auto_map", map[string]string{"config.json": `{"auto_map":{"AutoModel":"m.M"},"quantization":{"bits":4,"group_size":64}}`}, []string{"auto-map warning config.json"}},
		{"auto_map with its code (F1)", map[string]string{"config.json": `{"auto_map":{"AutoModel":"m.M"},"quantization":{"bits":4,"group_size":64}}`, "m.py": "x"}, []string{"auto-map error config.json", "code error m.py"}},
		{"auto_map of a processor (F1)", map[string]string{"processor_config.json": `{"auto_map":{"AutoProcessor":"p.P"}}`}, []string{"auto-map warning processor_config.json"}},
		{"auto_map of a tokenizer with its code (F1)", map[string]string{"tokenizer_config.json": `{"auto_map":{"AutoTokenizer":["t.T",null]},"chat_template":"x"}`, "t.py": "x"}, []string{"auto-map error tokenizer_config.json", "code error t.py"}},
		{"code that engines load (F3)", map[string]string{"a.dylib": "1", "b.npy": "2", "c.metallib": "3", "d.joblib": "4", "e.pt": "5"}, []string{"code error a.dylib", "pickle error b.npy", "code error c.metallib", "pickle error d.joblib", "pickle error e.pt"}},
		{"Python's JSON", map[string]string{"config.json": `{"limit":[0.0,Infinity,-Infinity,NaN],"s":"NaN \" Infinity","quantization":{"bits":4,"group_size":64}}`}, nil},
		{"pickles", map[string]string{"a.pkl": "x", "pytorch_model.bin": "y"}, []string{"pickle error a.pkl", "pickle error pytorch_model.bin"}},
		{"other weights (F8)", map[string]string{"a.gguf": "x", "b.dduf": "y", "data": "z"}, []string{"file-type error a.gguf", "file-type error b.dduf", "file-type error data"}},
		{"equal files", map[string]string{"special.json": `{}`}, []string{"equal-files error tokenizer.json"}},
		{"two templates", map[string]string{"a.jinja": "1", "b.jinja": "2"}, []string{"templates error b.jinja"}},
		{"a template beside the one that engines look for", map[string]string{"a.jinja": "1", "chat_template.jinja": "2"}, []string{"templates error a.jinja"}},
		{"device name", map[string]string{"con.json": "1"}, []string{"name error con.json"}},
		{"case", map[string]string{"A.json": "11", "a.json": "22"}, []string{"name error "}},
		{"nested weights", map[string]string{"x/w.safetensors": shard}, []string{"nested-weights warning x/w.safetensors"}},
		{"missing shard", map[string]string{shardIndex: `{"weight_map":{"a.weight":"model.safetensors","z":"z.safetensors"}}`}, []string{"shards error " + shardIndex}},
		{"shard escapes", map[string]string{shardIndex: `{"weight_map":{"a.weight":"model.safetensors","z":"../z.safetensors"}}`}, []string{"shards error " + shardIndex}},
		{"shard not named", map[string]string{"b.safetensors": shard, shardIndex: `{"weight_map":{"a.weight":"model.safetensors"}}`}, []string{"shards error b.safetensors"}},
		{"tensor elsewhere", map[string]string{shardIndex: `{"weight_map":{"q":"model.safetensors"}}`}, []string{"shards error " + shardIndex}},
		{"shard by another case (F7)", map[string]string{shardIndex: `{"weight_map":{"a.weight":"Model.safetensors"}}`}, []string{"shards error " + shardIndex, "shards error model.safetensors"}},
		{"shard is absolute (F7)", map[string]string{shardIndex: `{"weight_map":{"a.weight":"model.safetensors","z":"/z.safetensors"}}`}, []string{"shards error " + shardIndex}},
		{"index with one tensor twice (F7)", map[string]string{shardIndex: `{"weight_map":{"a.weight":"model.safetensors","a.weight":"model.safetensors"}}`}, []string{"shards error " + shardIndex}},
		{"one shard twice, by two spellings (F7)", map[string]string{shardIndex: `{"weight_map":{"a.weight":"model.safetensors","a.scales":"./model.safetensors"}}`}, []string{"shards error " + shardIndex}},
		{"wrong total", map[string]string{shardIndex: `{"metadata":{"total_size":73},"weight_map":{"a.weight":"model.safetensors"}}`}, []string{"total-size warning " + shardIndex}},
		{"right total", map[string]string{shardIndex: `{"metadata":{"total_size":72},"weight_map":{"a.weight":"model.safetensors"}}`}, nil},
		{"bits unlike shapes", map[string]string{"config.json": `{"quantization":{"bits":8,"group_size":64}}`}, []string{"quantization warning config.json"}},
		{"packed without a word", map[string]string{"config.json": `{"a":1}`}, []string{"quantization warning config.json"}},
		{"type that MLX does not read", map[string]string{"b.safetensors": string(safetensors(`{"b":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}`, 8))}, []string{"shards warning b.safetensors", "dtype warning "}},
		{"large template (F9)", map[string]string{"t.jinja": strings.Repeat("x", MaxTemplate+1)}, []string{"templates error t.jinja"}},
		{"licences by other names", map[string]string{"MODEL_LICENSE": "1", "THIRD_PARTY_NOTICES.txt": "2", "Llama-LICENSE.md": "3", "LICENSE-2.0": "4"}, nil},
		{"Mistral's tokenizers", map[string]string{"tokenizer.json": "", "tokenizer.model": "1", "tokenizer.model.v3": "2", "tokenizer.model.v7m1": "3"}, nil},
		{"tokenizers of their own", map[string]string{"tokenizer.json": "", "tiktoken.model": "1"}, nil},
		{"a tokenizer further down", map[string]string{"tokenizer.json": "", "x/tokenizer.model": "1"}, []string{"tokenizer error "}},
		{"consolidated beside the model", map[string]string{"consolidated.safetensors": shard}, []string{"shards error consolidated.safetensors"}},
		{"an adapter beside the model", map[string]string{"adapters.safetensors": shard}, []string{"shards error adapters.safetensors"}},
		{"weights by another name", map[string]string{"model.safetensors": "", "weights.safetensors": shard}, []string{"shards warning weights.safetensors"}},
		{"all weights nested", map[string]string{"model.safetensors": "", "x/w.safetensors": shard}, []string{"weights error ", "nested-weights warning x/w.safetensors"}},
		{"the index swaps two shards", map[string]string{"model-b.safetensors": shard, shardIndex: `{"weight_map":{"a.weight":"model-b.safetensors","b":"model.safetensors"}}`}, []string{"shards warning " + shardIndex}},
		{"the index has a tensor in another shard, and lacks its own", map[string]string{"model-b.safetensors": shard, shardIndex: `{"weight_map":{"a.weight":"model-b.safetensors","b":"model-b.safetensors"}}`}, []string{"shards warning " + shardIndex, "shards error model.safetensors"}},
		{"the index swaps two shards, and a third is missing", map[string]string{"model-b.safetensors": shard, shardIndex: `{"weight_map":{"a.weight":"model-b.safetensors","b":"model.safetensors","z":"model-c.safetensors"}}`}, []string{"shards warning " + shardIndex, "shards error " + shardIndex}},
		{"an adapter", map[string]string{"config.json": "", "tokenizer.json": "", "tokenizer_config.json": "", "model.safetensors": "", "adapter_config.json": "{}", "adapters.safetensors": shard}, []string{"config error "}},
		{"a pipeline for images", map[string]string{"config.json": "", "tokenizer.json": "", "tokenizer_config.json": "", "model.safetensors": "", "model_index.json": "{}", "vae/w.safetensors": shard}, []string{"config error ", "nested-weights warning vae/w.safetensors"}},
		{"GGUF alone", map[string]string{"config.json": "", "tokenizer.json": "", "tokenizer_config.json": "", "model.safetensors": "", "x.gguf": "GGUF"}, []string{"config error ", "file-type error x.gguf"}},
		{"packed by another program", map[string]string{"config.json": `{"quantization_config":{"quant_method":"bitsandbytes","load_in_4bit":true}}`}, []string{"quantization error config.json"}},
		{"packed for MLX, with what it was made from", map[string]string{"config.json": `{"quantization":{"bits":4,"group_size":64},"quantization_config":{"quant_method":"bitsandbytes"}}`}, nil},
		{"a config of millions of keys", map[string]string{"config.json": "{" + manyKeys(1<<19) + "}"}, []string{"config error config.json"}},
		{"pointers of Git LFS", map[string]string{"config.json": lfsPointer, "tokenizer.json": lfsPointer + " ", "model.safetensors": lfsPointer + "  ", shardIndex: lfsPointer + "   "}, []string{
			"lfs-pointer error config.json", "lfs-pointer error model.safetensors", "lfs-pointer error " + shardIndex, "lfs-pointer error tokenizer.json",
		}},
		{"an index without shards", map[string]string{shardIndex: `{"metadata":{}}`}, []string{"shards error " + shardIndex}},
		{"two sets", map[string]string{"other.safetensors": string(safetensors(weights+" ", 72))}, []string{"shards error other.safetensors"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			findings, err := Lint(t.Context(), Dir(writeModel(t, t.TempDir(), tt.changes), nil), Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range findings {
				if f.Fix == "" || f.Message == "" {
					t.Errorf("%+v: no message or fix", f)
				}
				got = append(got, f.Rule+" "+string(f.Severity)+" "+f.File)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLintSymlinks(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	outside := filepath.Join(base, "secret.json")
	if err := os.WriteFile(outside, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := writeModel(t, filepath.Join(base, "plain"), nil)
	if err := os.Symlink(outside, filepath.Join(dir, "extra.json")); err != nil {
		t.Fatal(err)
	}
	_, err := Build(t.Context(), Dir(dir, nil), Options{})
	var lint *LintError
	if !errors.As(err, &lint) || lint.Findings[0].Rule != RuleSymlink || !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if _, err := Build(t.Context(), Dir(dir, nil), Options{Allow: []string{RuleSymlink}}); err == nil || !strings.Contains(err.Error(), "cannot be allowed") {
		t.Errorf("got %v", err)
	}
}

// A rule that is misspelt, and one that cannot be allowed, are told apart.
func TestAllowUnknown(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{"pickel": `no lint rule "pickel"; those that can be allowed: tokenizer, `, RuleName: `lint rule "name" cannot be allowed; those that can: tokenizer, `} {
		_, err := Lint(t.Context(), Dir(t.TempDir(), nil), Options{Allow: []string{rule}})
		if !errors.Is(err, bundle.ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v", err)
		}
	}
}

// Weights that no engine loads are not counted, whatever they are.
func TestNestedWeightsAreNotCounted(t *testing.T) {
	t.Parallel()
	nested := string(safetensors(`{"a.weight":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}}`, 8))
	for _, path := range []string{"2_Dense/model.safetensors", "original/model.safetensors"} {
		dir := writeModel(t, t.TempDir(), map[string]string{path: nested, shardIndex: `{"metadata":{"total_size":72},"weight_map":{"a.weight":"model.safetensors"}}`})
		findings, err := Lint(t.Context(), Dir(dir, nil), Options{})
		if err != nil || len(findings) != 1 || findings[0].File != path {
			t.Fatalf("%v, %v", findings, err)
		}
		if got := strings.Contains(findings[0].Message, "finds no config.json"); got != (path < "model") {
			t.Errorf("%s: %s", path, findings[0].Message)
		}
		if n := build(t, dir, Options{}).Metadata().Parameters; n != 128 {
			t.Errorf("%s: %d parameters", path, n)
		}
	}
}

// The headers of all shards together are bounded, by bytes and by tensors.
func TestHeadersInAll(t *testing.T) {
	t.Parallel()
	dir := writeModel(t, t.TempDir(), nil)
	origin := Dir(dir, nil)
	if _, err := origin.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, f := &scan{origin: origin}, &file{path: "model.safetensors", size: int64(8 + len(weights) + 72)}
	for _, tt := range []struct {
		bytes, tensors int64
		want           string
	}{
		{0, maxAllTensors - 3, ""},
		{0, maxAllTensors - 2, "more than 262144 tensors in all"},
		{maxHeaders - 8 - int64(len(weights)), 0, ""},
		{maxHeaders, 0, "over 101048576 bytes"},
	} {
		total := &readHeaders{}
		total.bytes.Store(tt.bytes)
		total.tensors.Store(tt.tensors)
		_, err := s.readHeader(t.Context(), f, total)
		if (tt.want == "") != (err == nil) || err != nil && (!errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
