// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"slices"
	"strings"
)

// Metadata is what the files of a model state, over all its shards.
type Metadata struct {
	Format          string // "safetensors"
	Architecture    string
	Parameters      uint64
	Quantization    Quantization
	Context         int64             // tokens; 0 if it is not stated
	DTypes          []string          // of all tensors but packed words, sorted
	Header          map[string]string // __metadata__ of all shards; of a key that differs, the first
	Tensors         int
	WeightSize      int64  // bytes of all weight files
	ToolParser      string // what reads tool calls of this chat template; "" = not known
	ReasoningParser string // what reads its reasoning; "" = not known, or none
}

// Caps on what is passed on of __metadata__: some trainers keep their whole
// history there.
const (
	maxHeaderValue = 1024 // bytes of a key and its value
	maxHeaderKeys  = 64
)

// describe derives the metadata from config.json and the headers of all
// shards.
func describe(c *Config, headers []*Header, weightSize int64) Metadata {
	m := Metadata{
		Format: "safetensors", Architecture: c.Architecture, Quantization: c.Quantization,
		Context: c.Context, WeightSize: weightSize,
	}
	names := map[string]bool{} // over all shards: scales may lie in another one than the words
	for _, h := range headers {
		m.Tensors += len(h.Tensors)
		m.addHeader(h)
		for _, t := range h.Tensors {
			names[t.Name] = true
		}
	}
	for _, h := range headers {
		for _, t := range h.Tensors {
			n, plain := parameters(t, names, c)
			m.Parameters += n
			if plain && !slices.Contains(m.DTypes, t.DType) {
				m.DTypes = append(m.DTypes, t.DType)
			}
		}
	}
	slices.Sort(m.DTypes)
	return m
}

func (m *Metadata) addHeader(h *Header) {
	for _, key := range sortedKeys(h.Metadata) {
		value := h.Metadata[key]
		if _, ok := m.Header[key]; ok || len(key)+len(value) > maxHeaderValue || len(m.Header) == maxHeaderKeys {
			continue
		}
		if m.Header == nil {
			m.Header = map[string]string{}
		}
		m.Header[key] = value
	}
}

// packedForms are the ways in which words and what belongs to them are named:
// MLX's own, and three that mlx-lm converts when it loads them.
var packedForms = []struct {
	words, dtype string
	scales       string   // must be there too
	rest         []string // no parameters either
	perByte      uint64   // weights per byte; 0 = by the bits of config.json
}{
	{".weight", "U32", ".scales", []string{".biases"}, 0},
	{".qweight", "I32", ".scales", []string{".qzeros", ".g_idx"}, 0},
	{".weight_packed", "I32", ".weight_scale", []string{".weight_shape", ".weight_zero_point", ".weight_g_idx"}, 0},
	{"_blocks", "U8", "_scales", nil, 2},
}

// parameters counts the weights of one tensor, and says whether it is plain:
// its type is a precision. Scales and biases of packed words are no parameters.
func parameters(t Tensor, names map[string]bool, c *Config) (n uint64, plain bool) {
	if c.Tied && (t.Name == "lm_head.weight" || strings.HasSuffix(t.Name, ".lm_head.weight")) {
		return 0, false // engines drop it
	}
	for _, form := range packedForms {
		layer, ok := strings.CutSuffix(t.Name, form.words)
		if ok && t.DType == form.dtype && names[layer+form.scales] {
			switch {
			case form.perByte > 0:
				return t.Elements() * form.perByte, false
			case c.Quantization.Bits > 0:
				return t.Elements() * 32 / uint64(c.Quantization.of(layer).Bits), false
			}
		}
		for _, suffix := range append([]string{form.scales}, form.rest...) {
			if layer, ok := strings.CutSuffix(t.Name, suffix); ok && names[layer+form.words] && names[layer+form.scales] &&
				(form.perByte > 0 || c.Quantization.Bits > 0) {
				return 0, t.DType != "U8" // scales have the precision of the model, or 8 bits that are none
			}
		}
	}
	return t.Elements(), true
}

// FormatCount prints a count as Docker Model Runner does: two decimals, then
// nothing, K, M, B or T, by thousands: "361.82M".
func FormatCount(n uint64) string {
	f, unit := scale(n)
	return fmt.Sprintf("%.2f%s", f, unit)
}

// formatParamSize prints a count for ModelPack: at most one decimal and always
// a unit: "1.2B", "8B", "0.5K".
func formatParamSize(n uint64) string {
	f, unit := scale(n)
	if unit == "" {
		f, unit = f/1000, "K"
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + unit
}

func scale(n uint64) (float64, string) {
	f := float64(n)
	for _, unit := range []string{"", "K", "M", "B"} {
		if f < 1000 {
			return f, unit
		}
		f /= 1000
	}
	return f, "T"
}

// precisionNames are the words that ModelPack knows for dtypes; those it does
// not know are left out.
var precisionNames = map[string]string{
	"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3", "F8_E5M2": "float8_e5m2",
	"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}

func (m Metadata) precision() string {
	var out []string
	for _, d := range m.DTypes {
		if name := precisionNames[d]; name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}
