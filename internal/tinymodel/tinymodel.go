// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package tinymodel writes a language model of 0.2 MB for tests and for the
// demo: an MLX llama with 4-bit affine quantisation, two layers, a vocabulary
// of 512, and random weights. A real engine loads it and answers; what it says
// is nonsense.
//
// Start with [Write]. The weights are a hash of the tensor's name, so the
// files have the same bytes everywhere and always. Every id of the vocabulary
// is defined (256 bytes, 253 merges, 3 specials), so that no sampled id is
// unknown to the tokenizer.
package tinymodel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Sizes of the model. Every input dimension is a multiple of groupSize, so
// every layer is quantised.
const (
	hidden       = 128
	intermediate = 256
	layers       = 2
	heads        = 2
	kvHeads      = 1
	headDim      = hidden / heads
	vocabSize    = 512
	context      = 512
	groupSize    = 64
	bits         = 4
)

// The special tokens are the last ids.
const (
	endOfText = "<|endoftext|>"
	imStart   = "<|im_start|>"
	imEnd     = "<|im_end|>"
	eosID     = vocabSize - 1 // imEnd
)

// chatTemplate is the ChatML form, which most small models use.
const chatTemplate = `{% for message in messages %}` + imStart + `{{ message['role'] }}
{{ message['content'] }}` + imEnd + `
{% endfor %}{% if add_generation_prompt %}` + imStart + `assistant
{% endif %}`

const readme = `---
library_name: mlx
license: apache-2.0
pipeline_tag: text-generation
tags:
- mlx
---

# tiny

A llama of 2 layers with random 4-bit weights and a vocabulary of 512. It
loads and answers like any MLX model, and what it answers is nonsense: it is
for tests of the machinery around a model.
`

// Write writes config.json, model.safetensors, tokenizer.json,
// tokenizer_config.json and README.md into dir, which is made if it is not
// there.
func Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	weights, err := safetensors(tensors())
	if err != nil {
		return err
	}
	files := map[string][]byte{"model.safetensors": weights, "README.md": []byte(readme)}
	for name, value := range map[string]any{
		"config.json":           config(),
		"tokenizer.json":        tokenizer(),
		"tokenizer_config.json": tokenizerConfig(),
	} {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		files[name] = b.Bytes()
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// config is config.json, with the keys that mlx_lm demands.
func config() map[string]any {
	quantization := map[string]any{"group_size": groupSize, "bits": bits, "mode": "affine"}
	return map[string]any{
		"architectures":           []string{"LlamaForCausalLM"},
		"model_type":              "llama",
		"hidden_size":             hidden,
		"intermediate_size":       intermediate,
		"num_hidden_layers":       layers,
		"num_attention_heads":     heads,
		"num_key_value_heads":     kvHeads,
		"vocab_size":              vocabSize,
		"rms_norm_eps":            1e-5,
		"rope_theta":              10000.0,
		"max_position_embeddings": context,
		"tie_word_embeddings":     true,
		"bos_token_id":            vocabSize - 3,
		"eos_token_id":            eosID,
		"torch_dtype":             "float16",
		"quantization":            quantization,
		"quantization_config":     quantization,
	}
}

// tokenizerConfig is tokenizer_config.json.
func tokenizerConfig() map[string]any {
	return map[string]any{
		"tokenizer_class":              "PreTrainedTokenizerFast",
		"bos_token":                    endOfText,
		"eos_token":                    imEnd,
		"pad_token":                    endOfText,
		"model_max_length":             context,
		"clean_up_tokenization_spaces": false,
		"chat_template":                chatTemplate,
	}
}
