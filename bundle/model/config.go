// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
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
	Tied         bool   // the output layer is the embedding; a tensor for it is not loaded
	Packer       string // what packed the weights, if no MLX engine can unpack them
	ModelFile    string // code the model asks to have loaded
	AutoMap      []string
}

// contextKeys are the names of the context length, in the order in which
// Docker Model Runner tries them.
var contextKeys = []string{"max_position_embeddings", "n_ctx", "n_positions", "max_length", "max_sequence_length", "model_max_length"}

// nestedKeys are where models that are more than a language model keep the
// config of the language model in them.
var nestedKeys = []string{"text_config", "llm_config", "language_config", "thinker_config"}

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

// decodeObject reads a JSON object that Python may have written: Infinity and
// NaN, which Python writes and JSON does not know, become null.
func decodeObject(data []byte, o *object) error {
	return bundle.DecodeStrict(withoutInfinity(data), o)
}

// withoutInfinity replaces Python's three numbers outside of strings.
func withoutInfinity(data []byte) []byte {
	var out []byte // nil until something is replaced
	done := 0
	inString := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && (c == 'I' || c == 'N' || c == '-'):
			for _, name := range []string{"-Infinity", "Infinity", "NaN"} {
				if strings.HasPrefix(string(data[i:min(i+len(name), len(data))]), name) {
					out = append(append(out, data[done:i]...), "null"...)
					done = i + len(name)
					i = done - 1
					break
				}
			}
		}
	}
	if out == nil {
		return data
	}
	return append(out, data[done:]...)
}

// ParseConfig reads a config.json. Unknown keys are ignored, known ones of the
// wrong type count as absent. Errors wrap [bundle.ErrInvalid].
func ParseConfig(data []byte) (*Config, error) {
	var o object
	if err := decodeObject(data, &o); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	return configOf(o), nil
}

func configOf(o object) *Config {
	c := &Config{AutoMap: autoMap(o)}
	c.Architecture, _ = get[string](o, "model_type")
	if names, ok := get[[]string](o, "architectures"); ok && len(names) > 0 && c.Architecture == "" {
		c.Architecture = names[0]
	}
	if file, ok := o["model_file"]; ok && string(file) != "null" {
		c.ModelFile = strings.Trim(string(file), `"`)
	}
	var said []bool
	for _, in := range languageConfigs(o) {
		if c.Context == 0 {
			c.Context = contextLength(in)
		}
		if c.Quantization.Bits == 0 {
			c.Quantization = quantization(in)
		}
		c.Packer = cmp.Or(c.Packer, foreignPacker(in))
		if tied, ok := get[bool](in, "tie_word_embeddings"); ok {
			said = append(said, tied)
		}
	}
	// Some models say two things; then the tensor that is there counts.
	c.Tied = len(said) > 0 && !slices.Contains(said, false)
	return c
}

// languageConfigs are the objects that may describe the language model, the
// outermost first.
func languageConfigs(o object) []object {
	all := []object{o}
	for range 2 {
		for _, key := range nestedKeys {
			if in, ok := get[object](all[len(all)-1], key); ok {
				all = append(all, in)
				break
			}
		}
	}
	return all
}

func contextLength(o object) int64 {
	for _, key := range contextKeys {
		if n, ok := get[int64](o, key); ok && n > 0 && n <= maxContext {
			return n
		}
	}
	return 0
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
