// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// shardIndex is the file that says which shard holds which tensor.
const shardIndex = "model.safetensors.index.json"

// lintShards compares the shards with their index and with each other.
func (s *scan) lintShards(ctx context.Context) {
	owner := map[string]string{}
	for _, shard := range s.shards() {
		for _, name := range sortedKeys(s.tensors[shard]) {
			other, twice := owner[name]
			owner[name] = shard
			if twice {
				s.find(RuleShards, SeverityError, shard, fmt.Sprintf("holds tensor %q as %q does: two sets of weights, and engines load both", clip(name), other), "--exclude the files of one set")
				return
			}
		}
	}
	if s.lookup(shardIndex) == nil {
		s.lintStrays()
		return
	}
	data, ok := s.read(ctx, shardIndex, RuleShards, MaxConfigFile)
	if !ok || s.lookup(shardIndex).pointer {
		return
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
		Metadata  object            `json:"metadata"`
	}
	if err := bundle.DecodeStrict(data, &index); err != nil {
		s.find(RuleShards, SeverityError, shardIndex, err.Error(), "put sound JSON there")
		return
	}
	if len(index.WeightMap) == 0 {
		s.find(RuleShards, SeverityError, shardIndex, "there is no weight_map in it", "mend the index, "+withoutIndex)
		return
	}
	s.lintIndex(index.WeightMap, owner)
	s.lintTotal(index.Metadata)
}

// withoutIndex is the fix where the index is wrong and the shards may be right.
const withoutIndex = "or --exclude \"" + shardIndex + "\": without it engines load all shards"

// lintIndex reports each shard once, and one tensor of each way to be elsewhere.
func (s *scan) lintIndex(weights, owner map[string]string) {
	named, told := map[string]bool{}, map[bool]bool{}
	for _, tensor := range sortedKeys(weights) {
		shard := weights[tensor]
		names, ok := s.tensors[shard]
		switch {
		case named[shard]:
		case bundle.CheckPath(shard) != nil || strings.Contains(shard, "/"):
			s.find(RuleShards, SeverityError, shardIndex, fmt.Sprintf("names the shard %q", clip(shard)), "shards lie beside their index; mend it")
		case !ok:
			s.find(RuleShards, SeverityError, shardIndex, s.missing(shard), "add the shard, "+withoutIndex)
		}
		if lost := owner[tensor] == ""; ok && !names[tensor] && !told[lost] {
			told[lost] = true
			s.findElsewhere(tensor, shard, owner[tensor])
		}
		named[shard] = true
	}
	for _, shard := range s.shards() {
		if !named[shard] {
			s.find(RuleShards, SeverityError, shard, "the index does not name this shard; engines that follow the index miss it, others load it", fmt.Sprintf("--exclude %q, or mend the index", shard))
		}
	}
}

// findElsewhere judges a tensor that is not in the shard that the index has it
// in: engines take from an index which files to load, not what is in them.
func (s *scan) findElsewhere(tensor, shard, owner string) {
	if owner != "" {
		s.find(RuleShards, SeverityWarning, shardIndex, fmt.Sprintf("tensor %q is in %q, and the index has it in %q; engines find it all the same", clip(tensor), owner, shard), "mend the index")
		return
	}
	s.find(RuleShards, SeverityError, shardIndex, fmt.Sprintf("tensor %q is not in %q, nor in another; a shard may be of another model", clip(tensor), shard), "mend the index, "+withoutIndex)
}

// lintStrays judges weights without an index by their names: mlx-lm loads
// model*.safetensors, vLLM whatever is there.
func (s *scan) lintStrays() {
	model := func(shard string) bool { return strings.HasPrefix(shard, "model") }
	shards := s.shards()
	if s.foreign || len(shards) == 0 {
		return
	}
	if !slices.ContainsFunc(shards, model) {
		s.find(RuleShards, SeverityWarning, shards[0], "mlx-lm loads model*.safetensors alone, so no weights here", "rename it to model.safetensors")
		return
	}
	for _, shard := range shards {
		exclude := fmt.Sprintf("--exclude %q", shard)
		switch {
		case model(shard):
		case strings.HasPrefix(shard, "consolidated"), strings.HasPrefix(shard, "adapter"):
			s.find(RuleShards, SeverityError, shard, "a second set of weights, or an adapter; vLLM loads it too, and fails", exclude)
		default:
			s.find(RuleShards, SeverityWarning, shard, "mlx-lm loads model*.safetensors alone, and vLLM this file too", exclude+", if the weights are whole without it")
		}
	}
}

// missing says what is wrong with a shard that is named and not there.
func (s *scan) missing(shard string) string {
	for _, have := range s.shards() {
		if bundle.CollisionKey(have) == bundle.CollisionKey(shard) {
			return fmt.Sprintf("names %q, and the file is %q: one file on a Mac, two elsewhere", shard, have)
		}
	}
	return fmt.Sprintf("names %q, which is not there", shard)
}

// lintTotal compares the bytes that the index announces with those of the
// tensors. Tools that convert a model often leave an older number there, and
// no engine needs it.
func (s *scan) lintTotal(metadata object) {
	want, ok := get[uint64](metadata, "total_size")
	var have uint64
	for _, h := range s.headers {
		for _, t := range h.Tensors {
			have += t.End - t.Begin
		}
	}
	if ok && want != have {
		s.find(RuleTotal, SeverityWarning, shardIndex, fmt.Sprintf("total_size is %d, the tensors have %d bytes", want, have), "mend the index, or see whether a shard is of another model")
	}
}

// shards are the files of weights at the top whose headers are sound.
func (s *scan) shards() []string { return sortedKeys(s.tensors) }
