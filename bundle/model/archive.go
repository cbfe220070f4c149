// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
)

// Caps on an archive layer, whose files nothing announces.
const (
	maxArchiveFiles  = bundle.MaxLayers
	maxArchiveWindow = 8 << 20
	// A compressed layer may decode to this many bytes, or to archiveRatio
	// times its size: what tokenizers compress to, with room above it.
	minArchiveBudget = 16 << 20
	archiveRatio     = 32
)

// Archive is a layer that holds files instead of being one. metalpack reads
// such layers and never writes them.
type Archive struct {
	Kind       Kind   // of what is in it
	Codec      string // "", gzip or zstd
	Descriptor bundle.Descriptor
	DiffID     digest.Digest // of the tar, if the config states it
}

// archiveOf tells the media types of archives from others.
func archiveOf(mediaType string) (Archive, bool) {
	switch mediaType {
	case dockerPrefix + "vllm.config.tar", dockerPrefix + "dir.tar":
		return Archive{Kind: KindConfig}, true
	}
	rest, ok := strings.CutPrefix(mediaType, modelPackPrefix)
	name, codec, cut := strings.Cut(rest, ".v1.tar")
	if !ok || !cut {
		return Archive{}, false
	}
	kinds := map[string]Kind{"weight": KindWeight, "weight.config": KindConfig, "doc": KindDoc, "code": KindCode, "dataset": KindDataset}
	kind, known := kinds[name]
	switch codec {
	case "":
		return Archive{Kind: kind}, known
	case "+gzip", "+zstd":
		return Archive{Kind: kind, Codec: codec[1:]}, known
	}
	return Archive{}, false
}

// check compares the diff id with what is known without reading the layer.
func (a Archive) check() error {
	if a.DiffID == "" {
		return nil
	}
	if err := a.DiffID.Validate(); err != nil || a.DiffID.Algorithm() != digest.SHA256 {
		return invalid("layer %s: diff id %q", a.Descriptor.Digest, clip(string(a.DiffID)))
	}
	if a.Codec == "" && a.DiffID != a.Descriptor.Digest {
		return invalid("layer %s: its diff id is %s; it is not compressed", a.Descriptor.Digest, a.DiffID)
	}
	return nil
}

// each calls f with every regular file of the archive, in order. The archive
// is verified as a whole: what f wrote counts only if each returns nil. Errors:
// those of src and f, [bundle.ErrInvalid], [bundle.ErrMismatch].
func (a Archive) each(ctx context.Context, src bundle.Source, f func(path string, size int64, r io.Reader) error) (err error) {
	in, err := src.Open(ctx, a.Descriptor, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	verifier := bundle.NewVerifier(ctxio.Reader(ctx, in), a.Descriptor)
	buffered := bufio.NewReaderSize(verifier, 256<<10) // gzip would read ahead of itself
	plain, done, err := a.decode(buffered)
	if err != nil {
		return a.judge(err)
	}
	defer done()
	seen := digest.SHA256.Digester()
	budget := &budgetReader{r: io.TeeReader(plain, seen.Hash()), left: a.budget()}
	if err := eachEntry(tar.NewReader(budget), f); err != nil {
		return a.judge(err)
	}
	// What follows the end of a tar is padding, and must be verified too.
	if err := onlyZeros(budget); err != nil {
		return a.judge(err)
	}
	if _, err := buffered.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("bytes after its end")
		}
		return a.judge(err)
	}
	if err := verifier.Finish(); err != nil {
		return a.judge(err)
	}
	if a.DiffID != "" && seen.Digest() != a.DiffID {
		return fmt.Errorf("layer %s: its content is not its diff id: %w", a.Descriptor.Digest, bundle.ErrMismatch)
	}
	return nil
}

func (a Archive) budget() int64 {
	if a.Codec == "" || a.Descriptor.Size > 1<<52 {
		return a.Descriptor.Size
	}
	return max(minArchiveBudget, archiveRatio*a.Descriptor.Size)
}

// decode undoes the compression. gzip is one member.
func (a Archive) decode(r *bufio.Reader) (io.Reader, func(), error) {
	switch a.Codec {
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		z.Multistream(false)
		return z, func() {}, nil
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxArchiveWindow), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// judge names the layer. What a decoder finds wrong is the artifact's fault.
func (a Archive) judge(err error) error {
	for _, known := range []error{bundle.ErrInvalid, bundle.ErrMismatch, bundle.ErrNotFound, bundle.ErrUnreachable, bundle.ErrUnavailable, bundle.ErrUnauthorized, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return fmt.Errorf("layer %s: %w", a.Descriptor.Digest, err)
		}
	}
	if _, ok := errors.AsType[*writeError](err); ok {
		return err
	}
	return fmt.Errorf("layer %s: %w: %w", a.Descriptor.Digest, err, bundle.ErrInvalid)
}

// writeError is an error of the disk, which is no fault of the archive.
type writeError struct{ error }

// Unwrap returns the cause.
func (e *writeError) Unwrap() error { return e.error }

// eachEntry walks a tar. Only regular files and directories are taken, by
// valid paths; paths that collide are found by who keeps them all.
func eachEntry(t *tar.Reader, f func(path string, size int64, r io.Reader) error) error {
	for n := 0; ; n++ {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case n == maxArchiveFiles:
			return invalid("tar: more than %d entries", maxArchiveFiles)
		}
		name := h.Name
		if h.Typeflag == tar.TypeDir {
			name = strings.TrimSuffix(name, "/")
		}
		if err := bundle.CheckPath(name); err != nil {
			return fmt.Errorf("tar: %w", err)
		}
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse") {
				return invalid("tar: %q: sparse files are refused", name)
			}
		}
		switch h.Typeflag {
		case tar.TypeDir:
		case tar.TypeReg:
			if err := f(name, h.Size, t); err != nil {
				return err
			}
		default:
			return invalid("tar: %q: type %q is refused; want files and directories alone", name, h.Typeflag)
		}
	}
}

// onlyZeros reads to the end and wants nothing but padding.
func onlyZeros(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b != 0 {
				return invalid("tar: bytes after the end")
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// budgetReader refuses to decode more than it may.
type budgetReader struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (b *budgetReader) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, invalid("decodes to more bytes than its size allows")
	}
	return n, err
}
