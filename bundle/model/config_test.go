// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
)

func TestParseConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   string
		want Config
	}{
		{
			"dense", `{"model_type":"llama","architectures":["LlamaForCausalLM"],"max_position_embeddings":131072,"quantization":{"group_size":64,"bits":4}}`,
			Config{Architecture: "llama", Context: 131072, Quantization: Quantization{Bits: 4, GroupSize: 64}},
		},
		{
			"nested", `{"architectures":["Qwen"],"text_config":{"max_position_embeddings":4096,"quantization":{"bits":8,"group_size":32}}}`,
			Config{Architecture: "Qwen", Context: 4096, Quantization: Quantization{Bits: 8, GroupSize: 32}},
		},
		{
			"mixed", `{"quantization":{"bits":4,"group_size":64,"mode":"affine","lm_head":{"bits":6,"group_size":64},"embed":false}}`,
			Config{Quantization: Quantization{Bits: 4, GroupSize: 64, Layers: map[string]Packing{"lm_head": {Bits: 6, GroupSize: 64}}}},
		},
		{
			"code", `{"model_file":"x.py","auto_map":{"AutoModel":"m.M","AutoTokenizer":["t.T",null]}}`,
			Config{ModelFile: "x.py", AutoMap: []string{"m.M", "t.T"}},
		},
		{
			"wrong types and case", `{"Model_Type":"x","max_position_embeddings":"many","quantization":{"bits":99},"n_ctx":2048}`,
			Config{Context: 2048},
		},
		{"context too large", `{"max_position_embeddings":1000000000000000019884624838656,"text_config":null}`, Config{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseConfig([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, in := range []string{``, `[]`, `{"a":1,"a":2}`, `{} {}`, "{\"\xff\":1}"} {
		if _, err := ParseConfig([]byte(in)); err == nil {
			t.Errorf("%q: no error", in)
		}
	}
}

func TestQuantizationString(t *testing.T) {
	t.Parallel()
	for want, q := range map[string]Quantization{
		"":               {},
		"4bit-g64":       {Bits: 4, GroupSize: 64},
		"mxfp4":          {Bits: 4, GroupSize: 32, Mode: "mxfp4"},
		"4bit-g64-mixed": {Bits: 4, GroupSize: 64, Layers: map[string]Packing{"a": {Bits: 8}}},
	} {
		if got := q.String(); got != want {
			t.Errorf("%+v: got %q, want %q", q, got, want)
		}
	}
}

func TestParametersMixed(t *testing.T) {
	t.Parallel()
	// Words in one shard, scales in another; one layer has 3 bits; a plain
	// U32 tensor and a real ".biases" are what they seem.
	a := &Header{Tensors: []Tensor{{Name: "a.weight", DType: "U32", Shape: []uint64{2, 3}}, {Name: "ids", DType: "U32", Shape: []uint64{5}}}}
	b := &Header{Tensors: []Tensor{
		{Name: "a.scales", DType: "U8", Shape: []uint64{2, 1}},
		{Name: "b.weight", DType: "U32", Shape: []uint64{1, 4}},
		{Name: "b.scales", DType: "U8", Shape: []uint64{9}},
		{Name: "moe.biases", DType: "F32", Shape: []uint64{7}},
	}}
	q := Quantization{Bits: 4, Layers: map[string]Packing{"a": {Bits: 3}}}
	md := describe(&Config{Quantization: q}, []*Header{a, b}, 0)
	if want := uint64(2*3*32/3 + 5 + 4*8 + 7); md.Parameters != want {
		t.Errorf("got %d, want %d", md.Parameters, want)
	}
}

func TestFormatCount(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{0: "0.00 0K", 498: "498.00 0.5K", 361_820_000: "361.82M 361.8M", 8_000_000_000: "8.00B 8B", 1_235_814_400: "1.24B 1.2B"} {
		if got := FormatCount(n) + " " + formatParamSize(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

// Sound JSON is not touched, whatever it holds; Python's numbers become null.
func FuzzWithoutInfinity(f *testing.F) {
	f.Add([]byte(`{"a":"Infinity \\\" NaN","b":-1}`))
	f.Add([]byte(`{"a":[Infinity,-Infinity,NaN]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		out := withoutInfinity(data)
		if json.Valid(data) && string(out) != string(data) {
			t.Errorf("%q became %q", data, out)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"config":{"format":"safetensors"},"descriptor":{"licenses":["MIT"]},"modelfs":{"diffIds":[]}}`), "model.safetensors", layerWeight)
	f.Add([]byte(`{}`), "../x", modelPackPrefix+"doc.v1.tar+gzip")
	f.Fuzz(func(t *testing.T, config []byte, path, mediaType string) {
		d := bundle.Descriptor{MediaType: mediaType, Digest: digest.FromString(path), Size: 1, Annotations: map[string]string{bundle.AnnotationFilepath: path}}
		m, err := Parse(&ocispec.Manifest{Config: bundle.Descriptor{MediaType: ConfigTypeModelPack}, Layers: []bundle.Descriptor{d}}, config)
		if err != nil {
			if !errors.Is(err, bundle.ErrInvalid) {
				t.Fatalf("%v is not ErrInvalid", err)
			}
			return
		}
		for _, x := range m.Files {
			if bundle.CheckPath(x.Path) != nil {
				t.Fatalf("path %q", x.Path)
			}
		}
	})
}
