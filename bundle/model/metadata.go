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
	Format       string // "safetensors"
	Architecture string
	Parameters   uint64
	Quantization Quantization
	Context      int64    // tokens; 0 if it is not stated
	DTypes       []string // of all tensors but packed words, sorted
	Tensors      int
	WeightSize   int64 // bytes of all weight files
}

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
		for _, t := range h.Tensors {
			names[t.Name] = true
		}
	}
	for _, h := range headers {
		for _, t := range h.Tensors {
			n, packed := parameters(t, names, c.Quantization)
			m.Parameters += n
			if !packed && !slices.Contains(m.DTypes, t.DType) {
				m.DTypes = append(m.DTypes, t.DType)
			}
		}
	}
	slices.Sort(m.DTypes)
	return m
}

// parameters counts the weights of one tensor and says whether it holds packed
// words. Scales and biases of a packed tensor are no parameters.
func parameters(t Tensor, names map[string]bool, q Quantization) (n uint64, packed bool) {
	if q.Bits == 0 {
		return t.Elements(), false
	}
	if layer, ok := strings.CutSuffix(t.Name, ".weight"); ok && t.DType == "U32" && names[layer+".scales"] {
		return t.Elements() * 32 / uint64(q.bitsOf(layer)), true
	}
	for _, suffix := range []string{".scales", ".biases"} {
		if layer, ok := strings.CutSuffix(t.Name, suffix); ok && names[layer+".weight"] && names[layer+".scales"] {
			return 0, false
		}
	}
	return t.Elements(), false
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
