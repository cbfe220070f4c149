// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
	"github.com/metalpack/metalpack/internal/tarball"
)

// Variant is a built environment for one platform: its layers as blobs in the
// cache. It stays valid as long as they lie there.
type Variant struct {
	Name       string
	Release    string
	Platform   bundle.Platform
	TreeDigest digest.Digest

	codecs []codec
	layers []builtLayer
}

// builtLayer is one layer in every codec of the variant.
type builtLayer struct {
	name   string
	diffID digest.Digest
	blobs  []blob // as the variant's codecs
}

// blob is one compressed layer in the cache.
type blob struct {
	path string
	desc bundle.Descriptor
}

// blobRecord is what the cache remembers of a blob, in a file beside it that is
// written last.
type blobRecord struct {
	DiffID digest.Digest `json:"diffId"`
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
}

// Build writes the layers that the cache does not hold, several at once, each in
// one pass. Errors wrap [bundle.ErrMismatch] or [bundle.ErrInvalid] when a wheel
// or the interpreter is not what the plan read, or are those of the file system.
// What was built before an error stays in the cache.
func (p *Plan) Build(ctx context.Context) (*Variant, error) {
	codecs, err := p.in.codecs()
	if err != nil {
		return nil, err
	}
	v := &Variant{
		Name: p.in.Name, Release: p.in.Release, Platform: p.in.Platform, TreeDigest: p.TreeDigest,
		codecs: codecs, layers: make([]builtLayer, len(p.Layers)),
	}
	order := make([]int, len(p.Layers))
	for i := range order {
		order[i] = i
	}
	// The largest first: one that begins last would run alone.
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p.Layers[b].Size, p.Layers[a].Size) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(p.in.Parallel)
	for _, i := range order {
		g.Go(func() error {
			built, err := p.buildLayer(ctx, &p.Layers[i], codecs)
			if err != nil {
				return fmt.Errorf("layer %s: %w", p.Layers[i].Name, err)
			}
			v.layers[i] = built
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return v, nil
}

// buildLayer takes a layer from the cache or builds what is missing.
func (p *Plan) buildLayer(ctx context.Context, l *Layer, codecs []codec) (builtLayer, error) {
	if err := alive(ctx); err != nil {
		return builtLayer{}, err
	}
	dir := filepath.Join(p.in.CacheDir, "layers", l.Identity)
	built := builtLayer{name: l.Name, blobs: make([]blob, len(codecs))}
	var missing []int
	for i, c := range codecs {
		b, diffID, ok := cached(dir, c)
		if !ok || built.diffID != "" && built.diffID != diffID {
			missing = append(missing, i)
			continue
		}
		built.blobs[i], built.diffID = b, diffID
	}
	event := bundle.Event{What: "layer " + l.Name, Size: l.Size}
	if len(missing) == 0 {
		event.Kind, event.Reason, event.Digest = bundle.EventSkipped, "in the cache", built.diffID.String()
		p.in.Events.Emit(event)
		return built, nil
	}
	event.Kind = bundle.EventStarted
	p.in.Events.Emit(event)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return built, err
	}
	if err := p.compress(ctx, l, dir, codecs, missing, &built); err != nil {
		return built, err
	}
	event.Kind, event.Digest, event.Offset = bundle.EventDone, built.diffID.String(), l.Size
	p.in.Events.Emit(event)
	return built, nil
}

// compress streams a layer once into all missing codecs.
func (p *Plan) compress(ctx context.Context, l *Layer, dir string, codecs []codec, missing []int, built *builtLayer) (err error) {
	diff := sha256.New()
	sinks := []io.Writer{diff}
	var outs []*blobWriter
	defer func() {
		for _, o := range outs {
			err = errors.Join(err, o.discard())
		}
	}()
	for _, i := range missing {
		o, err := newBlobWriter(dir, codecs[i])
		if err != nil {
			return err
		}
		outs = append(outs, o)
		sinks = append(sinks, o.enc)
	}
	if err := tarball.Write(ctx, io.MultiWriter(sinks...), l.tarEntries(p.in.Name)); err != nil {
		return err
	}
	diffID := digest.NewDigest(digest.SHA256, diff)
	if built.diffID != "" && built.diffID != diffID {
		return fmt.Errorf("the cache in %s holds %s, this build made %s: remove that directory: %w", dir, built.diffID, diffID, bundle.ErrMismatch)
	}
	built.diffID = diffID
	for n, o := range outs {
		if built.blobs[missing[n]], err = o.commit(diffID); err != nil {
			return err
		}
	}
	return nil
}

// tarEntries returns the layer's entries below the payload root.
func (l *Layer) tarEntries(root string) []tarball.Entry {
	entries := make([]tarball.Entry, 0, len(l.files))
	for _, f := range l.files {
		entries = append(entries, tarball.Entry{
			Name: root + "/" + f.Path, Link: f.Target, Executable: f.Mode == bundle.ModeExecutable, Size: f.Size, Open: f.open,
		})
	}
	return entries
}

// blobWriter compresses into a temporary file beside the blob's place.
type blobWriter struct {
	codec codec
	dir   string
	file  *os.File
	enc   io.WriteCloser
	sum   hash.Hash
	done  bool
}

func newBlobWriter(dir string, c codec) (*blobWriter, error) {
	f, err := os.CreateTemp(dir, c.label+"-*"+tempSuffix)
	if err != nil {
		return nil, err
	}
	o := &blobWriter{codec: c, dir: dir, file: f, sum: sha256.New()}
	if o.enc, err = c.new(io.MultiWriter(f, o.sum)); err != nil {
		return nil, errors.Join(err, o.discard())
	}
	return o, nil
}

// commit ends the blob and gives it its name; the record that makes it count
// comes last.
func (o *blobWriter) commit(diffID digest.Digest) (blob, error) {
	if err := o.enc.Close(); err != nil {
		return blob{}, err
	}
	size, err := o.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return blob{}, err
	}
	if err := o.file.Sync(); err != nil {
		return blob{}, err
	}
	o.done = true
	if err := o.file.Close(); err != nil {
		return blob{}, err
	}
	file := filepath.Join(o.dir, o.codec.label)
	if err := fsatomic.Rename(o.file.Name(), file); err != nil {
		return blob{}, err
	}
	r := blobRecord{DiffID: diffID, Digest: digest.NewDigest(digest.SHA256, o.sum), Size: size}
	data, err := json.Marshal(r)
	if err != nil {
		return blob{}, err
	}
	if err := fsatomic.WriteFile(file+".json", data, 0o644); err != nil {
		return blob{}, err
	}
	return blob{file, bundle.Descriptor{MediaType: o.codec.mediaType, Digest: r.Digest, Size: size}}, nil
}

// discard removes the temporary file unless it was committed.
func (o *blobWriter) discard() error {
	if o.done {
		return nil
	}
	o.done = true
	return errors.Join(o.file.Close(), os.Remove(o.file.Name()))
}
