// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// shardIndex is the file that says which shard holds which tensor.
const shardIndex = "model.safetensors.index.json"

// readWeights reads the headers of all safetensors files, several at once.
func (s *scan) readWeights(ctx context.Context) {
	var shards []*file
	for _, f := range s.files {
		if extension(f.path) == ".safetensors" {
			shards = append(shards, f)
		}
	}
	if len(shards) == 0 {
		s.find(RuleWeights, SeverityError, "", "there are no safetensors weights", "convert the model to MLX safetensors first")
	}
	if s.failed != nil {
		return
	}
	var total readHeaders
	headers, bad := make([]*Header, len(shards)), make([]error, len(shards))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(bundle.DefaultParallel)
	for i, f := range shards {
		g.Go(func() (err error) {
			if headers[i], err = s.readHeader(gctx, f, &total); readable(err) {
				bad[i] = err
				return nil
			}
			return f.named(err)
		})
	}
	if s.failed = g.Wait(); s.failed != nil {
		return
	}
	for i, f := range shards {
		if bad[i] != nil {
			s.find(RuleWeights, SeverityError, f.path, bad[i].Error(), "download or convert it again")
			continue
		}
		s.headers = append(s.headers, headers[i])
		if !strings.Contains(f.path, "/") {
			s.tensors[f.path] = tensorNames(headers[i])
		}
	}
}

// Caps on the headers of all shards. The first is in bytes: that of one, and
// room for the others' beginnings.
const (
	maxHeaders    = MaxHeader + 1<<20
	maxAllTensors = 1 << 18
)

// readHeaders is what was read of all of them.
type readHeaders struct{ bytes, tensors atomic.Int64 }

// readHeader reads the header of a file, and remembers what it read.
func (s *scan) readHeader(ctx context.Context, f *file, total *readHeaders) (h *Header, err error) {
	if total.tensors.Load() > maxAllTensors {
		return nil, tooMany()
	}
	in, err := s.origin.Open(ctx, f.path, 0)
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, in)
	seen := digest.SHA256.Digester()
	counted := &countReader{total: &total.bytes, r: io.TeeReader(ctxio.Reader(ctx, in), seen.Hash())}
	if h, err = ReadHeader(counted, f.size); err != nil {
		return nil, err
	}
	if total.tensors.Add(int64(len(h.Tensors))) > maxAllTensors {
		return nil, tooMany()
	}
	f.head, f.headSize = seen.Digest(), counted.n
	return h, nil
}

func tooMany() error { return invalid("the shards have more than %d tensors in all", maxAllTensors) }

// countReader counts what is read through it, and ends when all of them have
// read too much.
type countReader struct {
	r     io.Reader
	n     int64
	total *atomic.Int64
}

// Read implements io.Reader.
func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.total.Add(int64(n)) > maxHeaders {
		return 0, invalid("the headers of all shards are over %d bytes", maxHeaders)
	}
	return n, err
}

func tensorNames(h *Header) map[string]bool {
	names := make(map[string]bool, len(h.Tensors))
	for _, t := range h.Tensors {
		names[t.Name] = true
	}
	return names
}

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
	data, ok := s.read(ctx, shardIndex, RuleShards, MaxConfigFile)
	if !ok {
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
	s.lintIndex(index.WeightMap)
	s.lintTotal(index.Metadata)
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
			s.find(RuleShards, SeverityError, shardIndex, s.missing(shard), "add the shard")
		}
		if ok && !names[tensor] {
			s.find(RuleShards, SeverityError, shardIndex, fmt.Sprintf("tensor %q is not in %q", clip(tensor), shard), "mend the index")
			return
		}
		named[shard] = true
	}
	for _, shard := range s.shards() {
		if !named[shard] {
			s.find(RuleShards, SeverityError, shard, "the index does not name this shard; engines that follow the index miss it, others load it", fmt.Sprintf("--exclude %q, or mend the index", shard))
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

// mlxTypes are the dtypes that MLX reads.
var mlxTypes = []string{"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "BF16", "F32", "F8_E4M3", "F8_E8M0", "C64"}

// lintTensors judges what the headers say about the tensors; one finding of a
// kind is enough.
func (s *scan) lintTensors() {
	shapes := map[string]Tensor{}
	for _, h := range s.headers {
		for _, t := range h.Tensors {
			shapes[t.Name] = t
			if !slices.Contains(mlxTypes, t.DType) && !s.found(RuleDType) {
				s.find(RuleDType, SeverityWarning, "", fmt.Sprintf("tensor %q is of type %s, which MLX does not read", clip(t.Name), t.DType), "convert the model with mlx_lm.convert")
			}
		}
	}
	if s.found(RuleConfig) {
		return
	}
	for _, name := range sortedKeys(shapes) {
		if why := s.packedWrong(shapes, name); why != "" {
			s.find(RuleQuantization, SeverityWarning, "config.json", fmt.Sprintf("tensor %q %s; engines may refuse it, and the parameter count is wrong", clip(name), why),
				"put the quantization there that the weights were converted with")
			return
		}
	}
}

// packedWrong says in what the shapes of packed words contradict config.json.
func (s *scan) packedWrong(shapes map[string]Tensor, name string) string {
	layer, ok := strings.CutSuffix(name, ".weight")
	words, scales := shapes[name], shapes[layer+".scales"]
	if !ok || words.DType != "U32" || len(scales.Shape) == 0 || len(scales.Shape) != len(words.Shape) {
		return ""
	}
	p := s.config.Quantization.of(layer)
	if p.Bits == 0 {
		return "is packed, and there is no quantization"
	}
	last := len(words.Shape) - 1
	have, want := words.Shape[last]*32, scales.Shape[last]*uint64(p.GroupSize)*uint64(p.Bits)
	if p.GroupSize > 0 && have != want {
		return fmt.Sprintf("has %d words and %d scales a row, which is not %d bits in groups of %d", words.Shape[last], scales.Shape[last], p.Bits, p.GroupSize)
	}
	return ""
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
