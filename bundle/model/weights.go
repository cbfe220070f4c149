// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// shardIndex is the file that says which shard holds which tensor.
const shardIndex = "model.safetensors.index.json"

// readConfig reads config.json and tokenizer_config.json.
func (s *scan) readConfig() {
	s.config = &Config{}
	if s.lookup("config.json") == nil {
		s.find(RuleConfig, SeverityError, "", "there is no config.json; no engine can tell what this is", "add the config.json that belongs to the weights")
	} else if data, ok := s.read("config.json", RuleConfig); ok {
		c, err := ParseConfig(data)
		if err != nil {
			s.find(RuleConfig, SeverityError, "config.json", err.Error(), "put sound JSON there")
		} else {
			s.config = c
		}
	}
	if s.config.ModelFile != "" {
		s.find(RuleModelFile, SeverityError, "config.json", fmt.Sprintf("model_file names code: %q", clip(s.config.ModelFile)), "remove the key; a model that needs its own code does not run here")
	}
	if len(s.config.AutoMap) > 0 {
		s.find(RuleAutoMap, SeverityWarning, "config.json", fmt.Sprintf("auto_map names code: %q; it is never loaded", clip(s.config.AutoMap[0])), "remove the key, if the engine knows the architecture without it")
	}
	data, ok := s.read("tokenizer_config.json", RuleTokenizer)
	if !ok {
		return
	}
	var o object
	if err := bundle.DecodeStrict(data, &o); err != nil {
		s.find(RuleTokenizer, SeverityError, "tokenizer_config.json", err.Error(), "put sound JSON there")
		return
	}
	raw := string(o["chat_template"])
	s.tokenizerTemplate = raw != "" && raw != "null" && raw != `""`
	if m := autoMap(o); len(m) > 0 {
		s.find(RuleAutoMap, SeverityWarning, "tokenizer_config.json", fmt.Sprintf("auto_map names code: %q; it is never loaded", clip(m[0])), "remove the key")
	}
}

// readWeights reads the headers of all safetensors files.
func (s *scan) readWeights() error {
	found := false
	for _, f := range s.files {
		if extension(f.path) != ".safetensors" {
			continue
		}
		found = true
		h, err := readHeaderFile(f.disk, f.size)
		if errors.Is(err, bundle.ErrInvalid) {
			s.find(RuleWeights, SeverityError, f.path, err.Error(), "download or convert it again")
			continue
		}
		if err != nil {
			return err
		}
		s.headers = append(s.headers, h)
		if !strings.Contains(f.path, "/") {
			s.tensors[f.path] = tensorNames(h)
		}
	}
	if !found {
		s.find(RuleWeights, SeverityError, "", "there are no safetensors weights", "convert the model to MLX safetensors first")
	}
	return nil
}

func readHeaderFile(disk string, size int64) (h *Header, err error) {
	f, err := os.Open(disk)
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, f)
	return ReadHeader(f, size)
}

func tensorNames(h *Header) map[string]bool {
	names := make(map[string]bool, len(h.Tensors))
	for _, t := range h.Tensors {
		names[t.Name] = true
	}
	return names
}

// lintShards compares the shards with their index and with each other.
func (s *scan) lintShards() {
	owner := map[string]string{}
	for _, shard := range s.shards() {
		for name := range s.tensors[shard] {
			other, twice := owner[name]
			owner[name] = shard
			if twice {
				s.find(RuleShards, SeverityError, shard, fmt.Sprintf("holds tensor %q as %q does: two sets of weights", clip(name), other), "--exclude the files of one set")
				return
			}
		}
	}
	data, ok := s.read(shardIndex, RuleShards)
	if !ok {
		return
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := bundle.DecodeStrict(data, &index); err != nil {
		s.find(RuleShards, SeverityError, shardIndex, err.Error(), "put sound JSON there")
		return
	}
	s.lintIndex(index.WeightMap)
}

// lintIndex reports each shard once.
func (s *scan) lintIndex(weights map[string]string) {
	named := map[string]bool{}
	for _, tensor := range sortedKeys(weights) {
		shard := weights[tensor]
		names, ok := s.tensors[shard]
		switch {
		case named[shard]:
		case bundle.CheckPath(shard) != nil || strings.Contains(shard, "/"):
			s.find(RuleShards, SeverityError, shardIndex, fmt.Sprintf("names the shard %q", clip(shard)), "shards lie beside their index; mend it")
		case !ok:
			s.find(RuleShards, SeverityError, shardIndex, fmt.Sprintf("names %q, which is not there", shard), "add the shard")
		}
		if ok && !names[tensor] {
			s.find(RuleShards, SeverityError, shardIndex, fmt.Sprintf("tensor %q is not in %q", clip(tensor), shard), "mend the index")
			return
		}
		named[shard] = true
	}
	for _, shard := range s.shards() {
		if !named[shard] {
			s.find(RuleShards, SeverityError, shard, "the index does not name this shard", fmt.Sprintf("--exclude %q, or mend the index", shard))
		}
	}
}

func (s *scan) shards() []string { return sortedKeys(s.tensors) }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
