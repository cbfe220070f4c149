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

	"github.com/metalpack/metalpack/builder/macho"
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
	Binaries   *macho.Report // of the Mach-O files
	Outline    Outline

	codecs []codec
	layers []*builtLayer
}

// builtLayer is one layer in every codec of the variant.
type builtLayer struct {
	name     string
	diffID   digest.Digest
	blobs    []blob        // as the variant's codecs
	binaries []macho.Entry // its Mach-O files, without an owner
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
	// Facts and no verdicts: a layer does not depend on the target's floor.
	Binaries []macho.Entry `json:"binaries"`
}

// Build writes the layers that the cache does not hold, several at once, each in
// one pass. Errors wrap [bundle.ErrMismatch] or [bundle.ErrInvalid] when a wheel
// or the interpreter is not what the plan read or a binary breaks a rule of
// package macho, or are those of the file system.
// What was built before an error stays in the cache.
func (p *Plan) Build(ctx context.Context) (*Variant, error) {
	codecs, err := p.in.codecs()
	if err != nil {
		return nil, err
	}
	v := p.in.variant(p.Outline(), p.TreeDigest, codecs)
	order := make([]int, len(p.Layers))
	for i := range order {
		order[i] = i
	}
	// The largest first: one that begins last would run alone.
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p.Layers[b].Size, p.Layers[a].Size) })
	b := &building{Plan: p, codecs: codecs}
	// While the disk takes one layer the processor has the next.
	commits, ctx := errgroup.WithContext(ctx)
	commits.SetLimit(maxParallel)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(p.in.Parallel)
	for _, i := range order {
		work.Go(func() error {
			name := p.Layers[i].Name
			built, commit, err := b.layer(ctx, &p.Layers[i])
			if err != nil {
				return fmt.Errorf("layer %s: %w", name, err)
			}
			v.layers[i] = built
			commits.Go(func() error {
				if err := commit(); err != nil {
					return fmt.Errorf("layer %s: %w", name, err)
				}
				return nil
			})
			return nil
		})
	}
	err = work.Wait()
	if cerr := commits.Wait(); cerr != nil { // which ended the work too
		err = cerr
	}
	if err == nil {
		v.Binaries, err = p.lint(v.layers)
	}
	if err == nil {
		err = p.remember(v)
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// variant is one without layers.
func (in *Input) variant(o Outline, tree digest.Digest, codecs []codec) *Variant {
	return &Variant{
		Name: in.Name, Release: in.Release, Platform: in.Platform, TreeDigest: tree, Outline: o,
		codecs: codecs, layers: make([]*builtLayer, o.Layers),
	}
}

// building is what the layers of one build share.
type building struct {
	*Plan
	codecs   []codec
	encoders encoders
}

// layer takes a layer from the cache or builds what is missing. Its blobs are
// right after commit, which the caller calls.
func (b *building) layer(ctx context.Context, l *Layer) (built *builtLayer, commit func() error, err error) {
	if err := alive(ctx); err != nil {
		return nil, nil, err
	}
	built, missing := fromCache(b.in.CacheDir, l, b.codecs)
	if len(missing) == 0 {
		b.in.Events.Emit(skipped(l.Name, l.Size, built))
		return built, func() error { return nil }, nil
	}
	dir := layerDir(b.in.CacheDir, l)
	event := bundle.Event{What: "layer " + l.Name, Size: l.Size}
	event.Kind = bundle.EventStarted
	b.in.Events.Emit(event)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	outs, err := b.compress(ctx, l, dir, missing, built)
	if err != nil {
		return nil, nil, err
	}
	return built, func() error {
		for n, o := range outs {
			if built.blobs[missing[n]], err = o.commit(built); err != nil {
				return errors.Join(err, discard(outs))
			}
		}
		event.Kind, event.Digest, event.Offset = bundle.EventDone, built.diffID.String(), l.Size
		b.in.Events.Emit(event)
		return nil
	}, nil
}

// skipped is the event of a layer that need not be built.
func skipped(name string, size int64, built *builtLayer) bundle.Event {
	return bundle.Event{Kind: bundle.EventSkipped, What: "layer " + name, Size: size, Reason: "in the cache", Digest: built.diffID.String()}
}

// compress streams a layer once into all missing codecs.
func (b *building) compress(ctx context.Context, l *Layer, dir string, missing []int, built *builtLayer) (outs []*blobWriter, err error) {
	diff := sha256.New()
	sinks := []io.Writer{diff}
	var join *joiner
	defer func() {
		if err != nil {
			err = errors.Join(err, discard(outs))
		}
	}()
	for _, i := range missing {
		o, err := b.newBlobWriter(dir, l, b.codecs[i])
		if err != nil {
			return outs, err
		}
		outs = append(outs, o)
		sinks = append(sinks, o.enc)
		if j, ok := o.enc.(*joiner); ok {
			join = j
		}
	}
	sum := new(macho.Summary)
	if err := tarball.Write(ctx, io.MultiWriter(sinks...), l.tarEntries(b.in.Name, sum, join)); err != nil {
		return outs, err
	}
	diffID := digest.NewDigest(digest.SHA256, diff)
	if built.diffID != "" && built.diffID != diffID {
		return outs, fmt.Errorf("the cache in %s holds %s, this build made %s: remove that directory: %w", dir, built.diffID, diffID, bundle.ErrMismatch)
	}
	built.diffID, built.binaries = diffID, append([]macho.Entry{}, sum.Entries()...) // a list, if empty
	for _, o := range outs {
		if err := o.enc.Close(); err != nil {
			return outs, err
		}
		b.encoders.give(o.codec, o.enc)
	}
	return outs, nil
}

// tarEntries returns the layer's entries below the payload root. What is learnt
// of binaries while they are read goes into sum; j may be nil.
func (l *Layer) tarEntries(root string, sum *macho.Summary, j *joiner) []tarball.Entry {
	entries := make([]tarball.Entry, 0, len(l.files))
	for _, f := range l.files {
		entries = append(entries, tarball.Entry{
			Name: root + "/" + f.Path, Link: f.Target, Executable: f.Mode == bundle.ModeExecutable, Size: f.Size, Open: watched(f, sum, j),
		})
	}
	return entries
}

// blobWriter compresses into a temporary file beside the blob's place.
type blobWriter struct {
	codec codec
	path  string
	file  *os.File
	enc   encoder
	sum   hash.Hash
	done  bool
}

func (b *building) newBlobWriter(dir string, l *Layer, c codec) (*blobWriter, error) {
	f, err := os.CreateTemp(dir, c.label+"-*"+tempSuffix)
	if err != nil {
		return nil, err
	}
	o := &blobWriter{codec: c, path: filepath.Join(dir, c.file(l)), file: f, sum: sha256.New()}
	if o.enc, err = b.encoders.take(c, io.MultiWriter(f, o.sum)); err != nil {
		return nil, errors.Join(err, o.discard())
	}
	return o, nil
}

// commit gives a blob that is complete its name; the record that makes it count
// comes last.
func (o *blobWriter) commit(built *builtLayer) (blob, error) {
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
	file := o.path
	if err := os.Rename(o.file.Name(), file); err != nil { // made durable with the record, in the same directory
		return blob{}, err
	}
	r := blobRecord{DiffID: built.diffID, Digest: digest.NewDigest(digest.SHA256, o.sum), Size: size, Binaries: built.binaries}
	data, err := json.Marshal(r)
	if err != nil {
		return blob{}, err
	}
	if err := fsatomic.WriteFile(file+".json", data, 0o644); err != nil {
		return blob{}, err
	}
	return blob{file, bundle.Descriptor{MediaType: o.codec.mediaType, Digest: r.Digest, Size: size}}, nil
}

// discard removes the files that were not committed.
func discard(outs []*blobWriter) (err error) {
	for _, o := range outs {
		err = errors.Join(err, o.discard())
	}
	return err
}

// discard removes the temporary file unless it was committed.
func (o *blobWriter) discard() error {
	if o.done {
		return nil
	}
	o.done = true
	return errors.Join(o.file.Close(), os.Remove(o.file.Name()))
}
