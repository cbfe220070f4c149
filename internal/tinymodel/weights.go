// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package tinymodel

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// tensor is one named array, its data little-endian.
type tensor struct {
	name  string
	dtype string
	shape []int
	data  []byte
}

// tensors returns the weights. The head is tied to the embedding.
func tensors() []tensor {
	out := linear("model.embed_tokens", vocabSize, hidden)
	out = append(out, norm("model.norm"))
	for i := range layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		out = append(out, norm(p+"input_layernorm"), norm(p+"post_attention_layernorm"))
		out = append(out, linear(p+"self_attn.q_proj", hidden, hidden)...)
		out = append(out, linear(p+"self_attn.k_proj", kvHeads*headDim, hidden)...)
		out = append(out, linear(p+"self_attn.v_proj", kvHeads*headDim, hidden)...)
		out = append(out, linear(p+"self_attn.o_proj", hidden, hidden)...)
		out = append(out, linear(p+"mlp.gate_proj", intermediate, hidden)...)
		out = append(out, linear(p+"mlp.up_proj", intermediate, hidden)...)
		out = append(out, linear(p+"mlp.down_proj", hidden, intermediate)...)
	}
	slices.SortFunc(out, func(a, b tensor) int { return cmp.Compare(a.name, b.name) })
	return out
}

// linear is a quantised matrix: a word holds eight weights of four bits, and
// a group of 64 has a scale and a bias with weight = scale * q + bias. The
// bias -7.5 * scale centres the values on zero.
func linear(name string, out, in int) []tensor {
	words := stream(name, out*in*bits/8)
	groups := out * in / groupSize
	jitter := stream(name+".scales", groups)
	scales, biases := make([]byte, 0, 2*groups), make([]byte, 0, 2*groups)
	for _, j := range jitter {
		scale := float64(4+j%4) / 256 // 1/64 to 7/256: about 1/sqrt(hidden) over all
		scales = binary.LittleEndian.AppendUint16(scales, float16(scale))
		biases = binary.LittleEndian.AppendUint16(biases, float16(-7.5*scale))
	}
	return []tensor{
		{name + ".weight", "U32", []int{out, in * bits / 32}, words},
		{name + ".scales", "F16", []int{out, in / groupSize}, scales},
		{name + ".biases", "F16", []int{out, in / groupSize}, biases},
	}
}

// norm is a vector of ones.
func norm(name string) tensor {
	var data []byte
	for range hidden {
		data = binary.LittleEndian.AppendUint16(data, float16(1))
	}
	return tensor{name + ".weight", "F16", []int{hidden}, data}
}

// stream returns n bytes that depend on name alone.
func stream(name string, n int) []byte {
	out := make([]byte, 0, n+sha256.Size)
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "tiny %s %d", name, i))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

// float16 returns the bits of x, which must be a normal half-precision number
// or zero; the callers' values are all exact.
func float16(x float64) uint16 {
	b := math.Float64bits(x)
	sign := uint16(b>>48) & 0x8000
	if x == 0 {
		return sign
	}
	exponent := int(b>>52&0x7ff) - 1023 + 15
	return sign | uint16(exponent)<<10 | uint16(b>>42&0x3ff)
}

// safetensors lays the tensors out in one file: the length of the header, the
// header padded with blanks to eight bytes, the data without a gap.
func safetensors(all []tensor) ([]byte, error) {
	type row struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header := map[string]any{"__metadata__": map[string]string{"format": "mlx"}}
	var data bytes.Buffer
	for _, t := range all {
		begin := data.Len()
		data.Write(t.data)
		header[t.name] = row{t.dtype, t.shape, [2]int{begin, data.Len()}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	if pad := len(text) % 8; pad != 0 {
		text = append(text, bytes.Repeat([]byte{' '}, 8-pad)...)
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	return append(append(out, text...), data.Bytes()...), nil
}
