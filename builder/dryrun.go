// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/builder/wheel"
	"github.com/metalpack/metalpack/bundle"
)

// Preview is [NewPlan] for a dry run: it writes nothing, the cache included, and
// takes no lock. The plan can be looked at but not built. Errors as for NewPlan.
func Preview(ctx context.Context, in Input) (*Plan, error) { return makePlan(ctx, in, false) }

// CachedBlob is a layer in one codec, as the cache knows it.
type CachedBlob struct {
	Codec  string        // as in [bundle.AnnotationCodec]
	Digest digest.Digest // "" = it must be built
	Size   int64         // compressed bytes; 0 = it must be built
}

// Cached looks up a layer of the plan in the cache, in every codec asked for.
// The error wraps [bundle.ErrInvalid].
func (p *Plan) Cached(l *Layer) ([]CachedBlob, error) {
	codecs, err := p.in.codecs()
	if err != nil {
		return nil, err
	}
	blobs := make([]CachedBlob, 0, len(codecs))
	for _, c := range codecs {
		b, _, ok := cached(p.in.CacheDir, l, c)
		if !ok {
			b = blob{}
		}
		blobs = append(blobs, CachedBlob{Codec: c.label, Digest: b.desc.Digest, Size: b.desc.Size})
	}
	return blobs, nil
}

// Applied returns the decisions that made a difference to the plan; those of
// other kinds than winner and waive always do.
func (p *Plan) Applied() []bundle.Decision {
	return slices.DeleteFunc(slices.Clone(p.Environment.Decisions), func(d bundle.Decision) bool {
		return (d.Kind == DecisionWinner || d.Kind == DecisionWaive) && !p.in.used[d]
	})
}

// LayerOf names the layer of a package by the size of its wheel in bytes, which
// is all that it depends on.
func LayerOf(name string, size int64) string { return layerOf(wheel.Normalize(name), size) }

// InterpreterLayer is the name of the interpreter's layer.
const InterpreterLayer = layerInterpreter
