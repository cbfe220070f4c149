// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"strings"
	"testing"
)

// routed is a model whose layers have routed experts, stacked as mlx-lm does it.
type routed struct {
	dense
	experts, width uint64
	gate, stack    string // of one layer: names of the router and of the experts
	biased         bool   // every projection has a bias, as gpt-oss
	headNorm       uint64 // width of the norms of query and key; 0 = none
}

func (s *shapes) routed(d routed) {
	s.linear("model.embed_tokens", d.vocab, d.hidden)
	s.linear("lm_head", d.vocab, d.hidden)
	s.vector("model.norm.weight", d.hidden)
	bias := func(layer string, shape ...uint64) {
		if d.biased {
			s.vector(layer+".bias", shape...)
		}
	}
	for i := range d.layers {
		l := fmt.Sprintf("model.layers.%d.", i)
		for name, out := range map[string]uint64{"q_proj": d.out, "k_proj": d.kv, "v_proj": d.kv} {
			s.linear(l+"self_attn."+name, out, d.hidden)
			bias(l+"self_attn."+name, out)
		}
		s.linear(l+"self_attn.o_proj", d.hidden, d.out)
		bias(l+"self_attn.o_proj", d.hidden)
		if d.biased {
			s.vector(l+"self_attn.sinks", d.out/64)
		}
		if d.headNorm > 0 {
			s.vector(l+"self_attn.q_norm.weight", d.headNorm)
			s.vector(l+"self_attn.k_norm.weight", d.headNorm)
		}
		s.vector(l+"input_layernorm.weight", d.hidden)
		s.vector(l+"post_attention_layernorm.weight", d.hidden)
		s.linear(l+d.gate, d.experts, d.hidden)
		bias(l+d.gate, d.experts)
		for _, name := range []string{"gate_proj", "up_proj"} {
			s.linear(l+d.stack+name, d.experts, d.width, d.hidden)
			bias(l+d.stack+name, d.experts, d.width)
		}
		s.linear(l+d.stack+"down_proj", d.experts, d.hidden, d.width)
		bias(l+d.stack+"down_proj", d.experts, d.hidden)
	}
}

// each writes one key of a quantization block for every layer.
func each(layers int, value string, names ...string) string {
	var b strings.Builder
	for i := range layers {
		for _, name := range names {
			fmt.Fprintf(&b, `,"model.layers.%d.%s":%s`, i, name, value)
		}
	}
	return b.String()
}

// The published counts of models that are widely converted to MLX, in the forms
// in which the conversions are published.
func TestParametersAsPublished(t *testing.T) {
	t.Parallel()
	const eight = `{"group_size":64,"bits":8}`
	oss := routed{
		dense: dense{vocab: 201088, hidden: 2880, kv: 512, out: 4096, layers: 24}, experts: 32, width: 2880,
		gate: "mlp.router", stack: "mlp.experts.", biased: true,
	}
	ossParts := []string{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.router"}
	qwen := routed{
		dense: dense{vocab: 151936, hidden: 2048, kv: 512, out: 4096, layers: 48}, experts: 128, width: 768,
		gate: "mlp.gate", stack: "mlp.switch_mlp.", headNorm: 128,
	}
	mixtral := routed{
		dense: dense{vocab: 32000, hidden: 4096, kv: 1024, out: 4096, layers: 32}, experts: 8, width: 14336,
		gate: "block_sparse_moe.gate", stack: "block_sparse_moe.switch_mlp.",
	}
	perLayer := func(d dense, vectors map[string]uint64) func(*shapes) {
		return func(s *shapes) {
			s.dense(d)
			for i := range d.layers {
				for name, n := range vectors {
					s.vector(fmt.Sprintf("model.layers.%d.%s", i, name), n)
				}
			}
		}
	}
	tests := []struct {
		name, config, plain string
		write               func(*shapes)
		want                uint64
		quantization        string
	}{
		{
			"gpt-oss-20b-MXFP4-Q8", `{"quantization":{"group_size":32,"bits":4,"mode":"mxfp4","model.embed_tokens":` + eight + `,"lm_head":` + eight + each(24, eight, ossParts...) + `}}`, "BF16",
			func(s *shapes) { s.routed(oss) }, 20_914_757_184, "mxfp4-mixed",
		},
		{
			"gpt-oss-20b, affine but for its experts",
			`{"quantization":{"group_size":64,"bits":8,"mode":"affine"` + each(24, `{"group_size":32,"bits":4,"mode":"mxfp4"}`, "mlp.experts.gate_proj", "mlp.experts.up_proj", "mlp.experts.down_proj") + `}}`, "BF16",
			func(s *shapes) { s.routed(oss) }, 20_914_757_184, "8bit-g64-mixed",
		},
		{"Qwen3-30B-A3B-4bit", `{"quantization":{"group_size":64,"bits":4` + each(48, eight, "mlp.gate") + `}}`, "BF16", func(s *shapes) { s.routed(qwen) }, 30_532_122_624, "4bit-g64-mixed"},
		{"Qwen3-30B-A3B-4bit-DWQ, 5 bits of 32", `{"quantization":{"group_size":32,"bits":5}}`, "BF16", func(s *shapes) { s.routed(qwen) }, 30_532_122_624, "5bit-g32"},
		{"Mixtral-8x7B-Instruct-v0.1-4bit", `{"quantization":{"group_size":64,"bits":4}}`, "F16", func(s *shapes) { s.routed(mixtral) }, 46_702_792_704, "4bit-g64"},
		{
			"Qwen3-0.6B-6bit", `{"tie_word_embeddings":true,"quantization":{"group_size":64,"bits":6}}`, "BF16",
			perLayer(dense{vocab: 151936, hidden: 1024, inter: 3072, kv: 1024, out: 2048, layers: 28, tied: true}, map[string]uint64{"self_attn.q_norm.weight": 128, "self_attn.k_norm.weight": 128}),
			596_049_920, "6bit-g64",
		},
		{
			"Qwen2.5-0.5B-Instruct-4bit", `{"tie_word_embeddings":true,"quantization":{"group_size":64,"bits":4}}`, "F16",
			perLayer(dense{vocab: 151936, hidden: 896, inter: 4864, kv: 128, out: 896, layers: 24, tied: true}, map[string]uint64{"self_attn.q_proj.bias": 896, "self_attn.k_proj.bias": 128, "self_attn.v_proj.bias": 128}),
			494_032_768, "4bit-g64",
		},
		{
			"gemma-3-1b-it, mixed_3_6", `{"quantization":{"group_size":64,"bits":3` + each(8, `{"group_size":64,"bits":6}`, "mlp.down_proj", "self_attn.v_proj") + `}}`, "BF16",
			perLayer(dense{vocab: 262144, hidden: 1152, inter: 6912, kv: 256, out: 1024, layers: 26, tied: true}, map[string]uint64{
				"self_attn.q_norm.weight": 256, "self_attn.k_norm.weight": 256, "pre_feedforward_layernorm.weight": 1152, "post_feedforward_layernorm.weight": 1152,
			}),
			999_885_952, "3bit-g64-mixed",
		},
		{
			"compressed-tensors", `{"quantization_config":{"quant_method":"compressed-tensors","config_groups":{"group_0":{"weights":{"num_bits":4,"group_size":32,"type":"int"}}}}}`, "BF16",
			func(s *shapes) {
				s.tensor("a.weight_packed", "I32", 2048, 7168/8)
				s.tensor("a.weight_scale", "BF16", 2048, 7168/32)
				s.tensor("a.weight_shape", "I64", 2)
			}, 2048 * 7168, "4bit-g32",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			md := describeShapes(t, tt.config, tt.plain, tt.write)
			if md.Parameters != tt.want || md.Quantization.String() != tt.quantization {
				t.Errorf("got %d parameters, %s, want %d, %s", md.Parameters, md.Quantization, tt.want, tt.quantization)
			}
		})
	}
}

// Where a config keeps the context length, by family.
func TestContextAsPublished(t *testing.T) {
	t.Parallel()
	for family, tt := range map[string]struct {
		config string
		want   int64
	}{
		"Qwen3-VL":                  {`{"model_type":"qwen3_vl","text_config":{"max_position_embeddings":262144},"vision_config":{"num_position_embeddings":2304}}`, 262144},
		"Mistral Small 3":           {`{"model_type":"mistral3","text_config":{"max_position_embeddings":131072}}`, 131072},
		"Qwen2.5-Omni":              {`{"model_type":"qwen2_5_omni","talker_config":{"max_position_embeddings":1},"thinker_config":{"text_config":{"max_position_embeddings":32768}}}`, 32768},
		"InternVL":                  {`{"llm_config":{"max_position_embeddings":40960}}`, 40960},
		"DeepSeek-VL2":              {`{"language_config":{"max_position_embeddings":4096}}`, 4096},
		"GPT-2":                     {`{"n_ctx":1024,"n_positions":1024}`, 1024},
		"Gemma 3, which leaves out": {`{"model_type":"gemma3","text_config":{"sliding_window":1024}}`, 0},
		"a tokenizer's infinity":    {`{"model_max_length":1000000000000000019884624838656}`, 0},
	} {
		c, err := ParseConfig([]byte(tt.config))
		if err != nil || c.Context != tt.want {
			t.Errorf("%s: got %d, %v, want %d", family, c.Context, err, tt.want)
		}
	}
}
