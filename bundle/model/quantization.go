// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"slices"
)

// The modes by which MLX packs weights. Those but the first have no biases and
// a group size of their own.
const (
	modeAffine = "affine"
	modeMXFP4  = "mxfp4"
	modeNVFP4  = "nvfp4"
	modeMXFP8  = "mxfp8"
)

// modes are the bits and the group size that MLX takes for a mode where
// config.json does not say them.
var modes = map[string]Packing{
	modeAffine: {Bits: 4, GroupSize: 64},
	modeMXFP4:  {Bits: 4, GroupSize: 32, Mode: modeMXFP4},
	modeNVFP4:  {Bits: 4, GroupSize: 16, Mode: modeNVFP4},
	modeMXFP8:  {Bits: 8, GroupSize: 32, Mode: modeMXFP8},
}

// Packing is how the weights of one layer are packed. Bits is 0 if they are
// not.
type Packing struct {
	Bits      int
	GroupSize int    // weights per scale
	Mode      string // mxfp4, …; "" = affine
}

// Quantization is how an MLX model packs its weights. Bits is 0 if it does
// not.
type Quantization struct {
	Bits      int
	GroupSize int
	Mode      string             // mxfp4, …; "" = affine
	Layers    map[string]Packing // the packed layers that config.json names, by name
}

// String is the short form that lists show: 4bit-g64, mxfp4, 4bit-g64-mixed.
func (q Quantization) String() string {
	if q.Bits == 0 {
		return ""
	}
	s := fmt.Sprintf("%dbit", q.Bits)
	if q.GroupSize > 0 {
		s += fmt.Sprintf("-g%d", q.GroupSize)
	}
	if q.Mode != "" {
		s = q.Mode
	}
	if q.Mixed() {
		s += "-mixed"
	}
	return s
}

// Mixed reports whether some layers are packed otherwise than the rest. Layers
// that are not packed at all do not make it so: most models leave some.
func (q Quantization) Mixed() bool {
	for _, p := range q.Layers {
		if p.Bits != q.Bits || p.Mode != q.Mode {
			return true
		}
	}
	return false
}

// quantization reads the block that mlx-lm writes: bits, group_size, mode, and
// for layers that differ an object, or false if they are not packed.
func quantization(o object) (q Quantization) {
	block, ok := get[object](o, "quantization")
	if !ok {
		if block, ok = get[object](o, "quantization_config"); !ok {
			return q
		}
	}
	p := packingOf(block)
	if method, _ := get[string](block, "quant_method"); method == compressedTensors {
		p = compressedPacking(block)
	}
	if p.Bits == 0 {
		return q
	}
	q.Bits, q.GroupSize, q.Mode = p.Bits, p.GroupSize, p.Mode
	for name := range block {
		layer, _ := get[object](block, name)
		if p := packingOf(layer); p.Bits > 0 {
			if q.Layers == nil {
				q.Layers = map[string]Packing{}
			}
			q.Layers[name] = p
		}
	}
	return q
}

// compressedTensors is a packer of many published models; mlx-lm repacks those of
// some architectures when it loads them.
const compressedTensors = "compressed-tensors"

// compressedPacking reads the first of its groups that packs integers.
func compressedPacking(block object) (p Packing) {
	groups, _ := get[object](block, "config_groups")
	for _, name := range sortedKeys(groups) {
		group, _ := get[object](groups, name)
		weights, _ := get[object](group, "weights")
		if kind, _ := get[string](weights, "type"); kind == "float" {
			continue
		}
		p.Bits, _ = get[int](weights, "num_bits")
		p.GroupSize, _ = get[int](weights, "group_size")
		if p.Bits == 4 || p.Bits == 8 {
			p.GroupSize = max(p.GroupSize, 0)
			return p
		}
	}
	return Packing{}
}

// foreignPackers are the quant_methods whose weights no MLX engine reads.
var foreignPackers = []string{
	"aqlm", "bitsandbytes", "eetq", "exl2", "exl3", "fbgemm_fp8", "higgs", "hqq", "quanto", "quip", "spqr", "torchao", "vptq",
}

// foreignPacker names the packer that is none of MLX's; "" if there is none.
func foreignPacker(o object) string {
	block, _ := get[object](o, "quantization_config")
	method, _ := get[string](block, "quant_method")
	if _, own := get[object](o, "quantization"); own || !slices.Contains(foreignPackers, method) {
		return ""
	}
	return method
}

// packingOf reads bits, group size and mode of one block. What is not stated
// is what the mode has; a mode alone is enough.
func packingOf(block object) Packing {
	p := Packing{}
	mode, hasMode := get[string](block, "mode")
	if mode != modeAffine {
		p.Mode = mode
	}
	p.Bits, _ = get[int](block, "bits")
	p.GroupSize, _ = get[int](block, "group_size")
	if known, ok := modes[mode]; ok && hasMode {
		if p.Bits == 0 {
			p.Bits = known.Bits
		}
		if p.GroupSize == 0 {
			p.GroupSize = known.GroupSize
		}
	}
	if p.Bits < 1 || p.Bits > 32 {
		return Packing{}
	}
	p.GroupSize = max(p.GroupSize, 0)
	return p
}

// of returns how a layer is packed that is packed at all.
func (q Quantization) of(layer string) Packing {
	if p, ok := q.Layers[layer]; ok {
		return p
	}
	return Packing{Bits: q.Bits, GroupSize: q.GroupSize, Mode: q.Mode}
}
