// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/builder/wheel"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Preview is [NewPlan] for a dry run: it writes nothing, the cache included, and
// takes no lock. The plan can be looked at but not built. Errors as for NewPlan.
func Preview(ctx context.Context, in Input) (plan *Plan, err error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	p := &Plan{in: in}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	var wheels []openWheel
	var files []plannedFile
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { files, err = scanInterpreter(gctx, &p.in); return err })
	g.Go(func() (err error) { wheels, err = p.openWheels(gctx); return err })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if files, err = merge(&p.in, files, wheels); err != nil {
		return nil, err
	}
	p.layOut(files)
	p.describe(wheels)
	return p, p.addMetadata()
}

// scanInterpreter reads the archive like readInterpreter, and keeps nothing.
func scanInterpreter(ctx context.Context, in *Input) (files []plannedFile, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("interpreter %s: %w", filepath.Base(in.Interpreter.Path), err)
		}
	}()
	f, err := os.Open(in.Interpreter.Path)
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, f)
	sum := sha256.New()
	raw := bufio.NewReaderSize(io.TeeReader(f, sum), 1<<20)
	stream, _, err := expand(raw)
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, stream)
	scan := &interpreterScan{in: in, links: map[string]string{}}
	if err := scan.run(ctx, io.LimitReader(stream, maxInterpreter)); err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, raw); err != nil {
		return nil, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != in.Interpreter.SHA256 {
		return nil, fmt.Errorf("sha256 is %s, want %s: %w", got, in.Interpreter.SHA256, bundle.ErrMismatch)
	}
	return scan.finish()
}

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
		b, _, ok := cached(filepath.Join(p.in.CacheDir, "layers", l.Identity), c)
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
