// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// MaxConfigFile is the cap on config.json, tokenizer_config.json and a shard
// index, in bytes.
const MaxConfigFile = 32 << 20

// Config is what config.json says that matters here.
type Config struct {
	Architecture string // model_type, or the first of architectures
	Quantization Quantization
	Context      int64  // context length in tokens; 0 if it is not stated
	ModelFile    string // code the model asks to have loaded
	AutoMap      []string
}

// Quantization is how an MLX model packs its weights. Bits is 0 if it does
// not.
type Quantization struct {
	Bits      int
	GroupSize int
	Mode      string         // affine, mxfp4, …; "" = affine
	Layers    map[string]int // bits of the layers that differ, by name
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
	if q.Mode != "" && q.Mode != "affine" {
		s = q.Mode
	}
	for _, b := range q.Layers {
		if b != q.Bits {
			return s + "-mixed"
		}
	}
	return s
}

// contextKeys are the names of the context length, in the order in which
// Docker Model Runner tries them.
var contextKeys = []string{"max_position_embeddings", "n_ctx", "n_positions", "max_length", "max_sequence_length", "model_max_length"}

// maxContext is what fits Docker's context_size, an int32.
const maxContext = 1<<31 - 1

// object is a JSON object with exact keys; decoding into a struct would ignore
// their case.
type object map[string]json.RawMessage

// get returns a value if it is there and of the right type.
func get[T any](o object, key string) (v T, ok bool) {
	raw, ok := o[key]
	if !ok || string(raw) == "null" || json.Unmarshal(raw, &v) != nil {
		var zero T
		return zero, false
	}
	return v, true
}

// ParseConfig reads a config.json. Unknown keys are ignored, known ones of the
// wrong type count as absent. Errors wrap [bundle.ErrInvalid].
func ParseConfig(data []byte) (*Config, error) {
	var o object
	if err := bundle.DecodeStrict(data, &o); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	text, _ := get[object](o, "text_config")
	c := &Config{AutoMap: autoMap(o)}
	c.Architecture, _ = get[string](o, "model_type")
	if names, ok := get[[]string](o, "architectures"); ok && len(names) > 0 && c.Architecture == "" {
		c.Architecture = names[0]
	}
	if file, ok := o["model_file"]; ok && string(file) != "null" {
		c.ModelFile = strings.Trim(string(file), `"`)
	}
	for _, in := range []object{o, text} {
		if c.Context == 0 {
			c.Context = contextLength(in)
		}
		if c.Quantization.Bits == 0 {
			c.Quantization = quantization(in)
		}
	}
	return c, nil
}

func contextLength(o object) int64 {
	for _, key := range contextKeys {
		if n, ok := get[int64](o, key); ok && n > 0 && n <= maxContext {
			return n
		}
	}
	return 0
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
	if q.Bits, _ = get[int](block, "bits"); q.Bits < 1 || q.Bits > 32 {
		return Quantization{}
	}
	q.GroupSize, _ = get[int](block, "group_size")
	q.Mode, _ = get[string](block, "mode")
	for name := range block {
		layer, ok := get[object](block, name)
		if !ok {
			continue
		}
		if b, ok := get[int](layer, "bits"); ok && b >= 1 && b <= 32 {
			if q.Layers == nil {
				q.Layers = map[string]int{}
			}
			q.Layers[name] = b
		}
	}
	return q
}

// bitsOf returns the packed width of a layer.
func (q Quantization) bitsOf(layer string) int {
	if b, ok := q.Layers[layer]; ok {
		return b
	}
	return q.Bits
}

// autoMap lists the modules that auto_map names ("file.Class" or
// "repo--file.Class"), sorted.
func autoMap(o object) []string {
	m, _ := get[object](o, "auto_map")
	var out []string
	for key := range m {
		many, ok := get[[]*string](m, key)
		if one, isOne := get[string](m, key); isOne {
			many, ok = []*string{&one}, true
		}
		for _, s := range many {
			if ok && s != nil {
				out = append(out, *s)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
