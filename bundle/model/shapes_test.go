// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// shapes writes the header of a model as mlx-lm would, from the shapes that
// its public config gives. No weights.
type shapes struct {
	h *Header
	q Quantization
	// plain is the dtype of what is not packed.
	plain string
}

func newShapes(q Quantization, plain string) *shapes {
	return &shapes{h: &Header{Metadata: map[string]string{"format": "mlx"}}, q: q, plain: plain}
}

func (s *shapes) tensor(name, dtype string, shape ...uint64) {
	s.h.Tensors = append(s.h.Tensors, Tensor{Name: name, DType: dtype, Shape: shape})
}

// vector adds norms, biases and whatever is never packed.
func (s *shapes) vector(name string, shape ...uint64) { s.tensor(name, s.plain, shape...) }

// linear adds a layer's weight [out, in], or stacked ones [experts, out, in],
// packed as the quantization says.
func (s *shapes) linear(layer string, shape ...uint64) {
	p := s.q.of(layer)
	if p.Bits == 0 {
		s.vector(layer+".weight", shape...)
		return
	}
	last := len(shape) - 1
	words, groups := append([]uint64(nil), shape...), append([]uint64(nil), shape...)
	words[last] = shape[last] * uint64(p.Bits) / 32
	groups[last] = shape[last] / uint64(p.GroupSize)
	s.tensor(layer+".weight", "U32", words...)
	if p.Mode != "" {
		s.tensor(layer+".scales", "U8", groups...)
		return
	}
	s.vector(layer+".scales", groups...)
	s.vector(layer+".biases", groups...)
}

// dense is a llama-like language model.
type dense struct {
	prefix                        string
	vocab, hidden, inter, kv, out uint64 // out = heads * head size
	layers                        int
	tied                          bool
}

func (s *shapes) dense(d dense) {
	s.linear(d.prefix+"model.embed_tokens", d.vocab, d.hidden)
	if !d.tied {
		s.linear(d.prefix+"lm_head", d.vocab, d.hidden)
	}
	s.vector(d.prefix+"model.norm.weight", d.hidden)
	for i := range d.layers {
		l := fmt.Sprintf("%smodel.layers.%d.", d.prefix, i)
		s.linear(l+"self_attn.q_proj", d.out, d.hidden)
		s.linear(l+"self_attn.k_proj", d.kv, d.hidden)
		s.linear(l+"self_attn.v_proj", d.kv, d.hidden)
		s.linear(l+"self_attn.o_proj", d.hidden, d.out)
		s.linear(l+"mlp.gate_proj", d.inter, d.hidden)
		s.linear(l+"mlp.up_proj", d.inter, d.hidden)
		s.linear(l+"mlp.down_proj", d.hidden, d.inter)
		s.vector(l+"input_layernorm.weight", d.hidden)
		s.vector(l+"post_attention_layernorm.weight", d.hidden)
	}
}

var (
	llama1B   = dense{vocab: 128256, hidden: 2048, inter: 8192, kv: 512, out: 2048, layers: 16, tied: true}
	mistral7B = dense{vocab: 32768, hidden: 4096, inter: 14336, kv: 1024, out: 4096, layers: 32}
)

// coderNext adds Qwen3-Coder-Next. Its config: hidden 2048, 48 layers of which
// every fourth has full attention, 151,936 tokens, untied; 512 experts of 512,
// a shared one of 512; 16 heads of 256 with an output gate (so the query is
// twice as wide), 2 key-value heads; linear attention with 16 key heads and 32
// value heads of 128 and a convolution of 4. mlx-lm keeps the two gates at 8
// bits and leaves the multi-token head out.
func (s *shapes) coderNext() {
	const hidden, vocab, experts, inter, keys, values = 2048, 151936, 512, 512, 16 * 128, 32 * 128
	s.linear("model.embed_tokens", vocab, hidden)
	s.linear("lm_head", vocab, hidden)
	s.vector("model.norm.weight", hidden)
	for i := range 48 {
		l := fmt.Sprintf("model.layers.%d.", i)
		s.vector(l+"input_layernorm.weight", hidden)
		s.vector(l+"post_attention_layernorm.weight", hidden)
		s.linear(l+"mlp.gate", experts, hidden)
		s.linear(l+"mlp.shared_expert_gate", 1, hidden)
		for _, part := range []string{"mlp.switch_mlp.", "mlp.shared_expert."} {
			stack := []uint64{experts}
			if part == "mlp.shared_expert." {
				stack = nil
			}
			s.linear(l+part+"gate_proj", append(slices.Clip(stack), inter, hidden)...)
			s.linear(l+part+"up_proj", append(slices.Clip(stack), inter, hidden)...)
			s.linear(l+part+"down_proj", append(slices.Clip(stack), hidden, inter)...)
		}
		if i%4 == 3 {
			s.linear(l+"self_attn.q_proj", 2*16*256, hidden)
			s.linear(l+"self_attn.k_proj", 2*256, hidden)
			s.linear(l+"self_attn.v_proj", 2*256, hidden)
			s.linear(l+"self_attn.o_proj", hidden, 16*256)
			s.vector(l+"self_attn.q_norm.weight", 256)
			s.vector(l+"self_attn.k_norm.weight", 256)
			continue
		}
		s.linear(l+"linear_attn.in_proj_qkvz", 2*keys+2*values, hidden)
		s.linear(l+"linear_attn.in_proj_ba", 2*32, hidden)
		s.linear(l+"linear_attn.out_proj", hidden, values)
		s.vector(l+"linear_attn.conv1d.weight", 2*keys+values, 4, 1)
		s.vector(l+"linear_attn.dt_bias", 32)
		s.vector(l+"linear_attn.A_log", 32)
		s.vector(l+"linear_attn.norm.weight", 128)
	}
}

// describeShapes describes a model that consists of a config and shapes, which
// the lint must take for packed as the config says.
func describeShapes(t *testing.T, config, plain string, write func(*shapes)) Metadata {
	t.Helper()
	c, err := ParseConfig([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	s := newShapes(c.Quantization, plain)
	write(s)
	check := &scan{config: c, headers: []*Header{s.h}}
	if check.lintTensors(); check.found(RuleQuantization) {
		t.Errorf("%v", check.findings)
	}
	return describe(c, check.headers, 0)
}

// Every row's config is what such a model has in config.json; the shapes are
// packed as it says, and the count must come out as published for the model
// that is not packed. Where nothing is published the sum is written out.
func TestParametersOfModels(t *testing.T) {
	t.Parallel()
	var overrides strings.Builder
	for i := range 48 {
		fmt.Fprintf(&overrides, `,"model.layers.%d.mlp.gate":{"group_size":64,"bits":8},"model.layers.%d.mlp.shared_expert_gate":{"group_size":64,"bits":8}`, i, i)
	}
	const affine4 = `"quantization":{"group_size":64,"bits":4`
	llama := func(d dense) func(*shapes) { return func(s *shapes) { s.dense(d) } }
	nested := llama1B
	nested.prefix = "language_model."
	moe := func(s *shapes) { // 4 experts stacked, scales without biases, a bias of the layer itself
		s.linear("model.layers.0.mlp.experts.gate_proj", 4, 64, 128)
		s.vector("model.layers.0.mlp.experts.gate_proj.bias", 4, 64)
	}
	tests := []struct {
		name, config, plain string
		write               func(*shapes)
		want                uint64
		quantization, types string
		context             int64
	}{
		{"Llama-3.2-1B-Instruct-4bit", `{"tie_word_embeddings":true,"max_position_embeddings":131072,` + affine4 + `}}`, "F16", llama(llama1B), 1_235_814_400, "4bit-g64", "float16", 131072},
		{"Llama-3.2-1B-Instruct-8bit", `{"tie_word_embeddings":true,"quantization":{"group_size":64,"bits":8}}`, "F16", llama(llama1B), 1_235_814_400, "8bit-g64", "float16", 0},
		{"Llama-3.2-1B-Instruct-3bit", `{"tie_word_embeddings":true,"quantization":{"group_size":64,"bits":3}}`, "F16", llama(llama1B), 1_235_814_400, "3bit-g64", "float16", 0},
		{"Llama-3.2-1B-Instruct-bf16", `{"tie_word_embeddings":true}`, "BF16", llama(llama1B), 1_235_814_400, "", "bfloat16", 0},
		{"Llama-3.2-1B, mxfp4", `{"tie_word_embeddings":true,"quantization":{"group_size":32,"bits":4,"mode":"mxfp4"}}`, "BF16", llama(llama1B), 1_235_814_400, "mxfp4", "bfloat16", 0},
		{"Llama-3.2-1B, nvfp4 by its mode alone", `{"tie_word_embeddings":true,"quantization":{"mode":"nvfp4"}}`, "BF16", llama(llama1B), 1_235_814_400, "nvfp4", "bfloat16", 0},
		{"Llama-3.2-1B, mxfp8", `{"tie_word_embeddings":true,"quantization":{"mode":"mxfp8","bits":8,"group_size":32}}`, "BF16", llama(llama1B), 1_235_814_400, "mxfp8", "bfloat16", 0},
		{
			"Llama-3.2-1B, mixed", `{"tie_word_embeddings":true,` + affine4 + `,"model.embed_tokens":{"group_size":32,"bits":6},"model.layers.3.mlp.up_proj":{"mode":"mxfp4"},"model.layers.0.mlp.up_proj":false}}`,
			"F16", llama(llama1B), 1_235_814_400, "4bit-g64-mixed", "float16", 0,
		},
		{"Mistral-7B-Instruct-v0.3-4bit", `{"max_position_embeddings":32768,` + affine4 + `}}`, "F16", llama(mistral7B), 7_248_023_552, "4bit-g64", "float16", 32768},
		{"Qwen3-Coder-Next-4bit", `{"max_position_embeddings":262144,` + affine4 + overrides.String() + `}}`, "BF16", (*shapes).coderNext, 79_674_391_296, "4bit-g64-mixed", "bfloat16", 262144},
		{"tied, with a head that engines drop", `{"tie_word_embeddings":true}`, "BF16", func(s *shapes) { s.dense(llama1B); s.linear("lm_head", 128256, 2048) }, 1_235_814_400, "", "bfloat16", 0},
		{"tied by one of two, so the head counts", `{"tie_word_embeddings":false,"text_config":{"tie_word_embeddings":true}}`, "BF16", func(s *shapes) { s.linear("lm_head", 16, 32) }, 512, "", "bfloat16", 0},
		{
			"vision and language, nested", `{"text_config":{"max_position_embeddings":4096,` + affine4 + `}},"vision_config":{"max_position_embeddings":9}}`, "BF16",
			func(s *shapes) { s.dense(nested); s.vector("vision_tower.patch_embed.weight", 1024, 3, 14, 14) }, 1_235_814_400 + 1024*3*14*14, "4bit-g64", "bfloat16", 4096,
		},
		{"speech around language", `{"thinker_config":{"text_config":{"max_position_embeddings":32768}}}`, "BF16", func(s *shapes) { s.vector("a", 3) }, 3, "", "bfloat16", 32768},
		{"experts stacked, mxfp4", `{"quantization":{"group_size":32,"bits":4,"mode":"mxfp4"}}`, "BF16", moe, 4*64*128 + 4*64, "mxfp4", "bfloat16", 0},
		{
			"experts as they were published, mxfp4", `{"quantization_config":{"quant_method":"mxfp4"}}`, "BF16",
			func(s *shapes) {
				s.tensor("mlp.experts.gate_up_proj_blocks", "U8", 32, 5760, 90, 16)
				s.tensor("mlp.experts.gate_up_proj_scales", "U8", 32, 5760, 90)
			}, 32 * 5760 * 2880, "", "", 0,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			md := describeShapes(t, tt.config, tt.plain, tt.write)
			if md.Parameters != tt.want {
				t.Errorf("got %d parameters, want %d", md.Parameters, tt.want)
			}
			if got := md.Quantization.String(); got != tt.quantization || md.precision() != tt.types || md.Context != tt.context {
				t.Errorf("got %q, %q, %d", got, md.precision(), md.Context)
			}
		})
	}
}
