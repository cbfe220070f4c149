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

// readWeights reads the headers of all safetensors files, several at once.
func (s *scan) readWeights(ctx context.Context) {
	var shards []*file
	for _, f := range s.files {
		if extension(f.path) == ".safetensors" {
			shards = append(shards, f)
		}
	}
	switch {
	case s.foreign:
	case len(shards) == 0:
		s.find(RuleWeights, SeverityError, "", "there are no safetensors weights", "convert the model to MLX safetensors first")
	case !slices.ContainsFunc(shards, (*file).atTop):
		s.find(RuleWeights, SeverityError, "", "there are no safetensors weights beside config.json", "take the directory that holds both")
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
		if f.pointer {
			continue
		}
		if bad[i] != nil {
			s.find(RuleWeights, SeverityError, f.path, bad[i].Error(), "download or convert it again")
			continue
		}
		if f.atTop() { // engines load no other
			s.headers = append(s.headers, headers[i])
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

// more counts one tensor.
func (r *readHeaders) more() error {
	if r.tensors.Add(1) > maxAllTensors {
		return invalid("the shards have more than %d tensors in all", maxAllTensors)
	}
	return nil
}

// readHeader reads the header of a file, and remembers what it read.
func (s *scan) readHeader(ctx context.Context, f *file, total *readHeaders) (h *Header, err error) {
	in, err := s.origin.Open(ctx, f.path, 0)
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, in)
	seen := digest.SHA256.Digester()
	counted := &countReader{total: &total.bytes, r: io.TeeReader(ctxio.Reader(ctx, in), seen.Hash())}
	if h, err = readHeader(counted, f.size, total.more); err != nil {
		return nil, err
	}
	f.head, f.headSize = seen.Digest(), counted.n
	return h, nil
}

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
	if packer := s.config.Packer; packer != "" {
		s.find(RuleQuantization, SeverityError, "config.json", fmt.Sprintf("the weights are packed by %q, which no MLX engine reads", clip(packer)), "convert the model that is not packed with mlx_lm.convert")
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

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
