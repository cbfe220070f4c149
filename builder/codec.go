// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"cmp"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/metalpack/metalpack/bundle"
)

// compressVersion is the version of klauspost/compress in go.mod. It is part of
// cache keys and annotations, because other versions write other bytes; a test
// holds the two equal.
const compressVersion = "1.20.3"

// zstdWindow is the window at every level, so that readers can refuse to
// allocate more. It costs nothing in size.
const zstdWindow = 8 << 20

// zstdNone asks for no zstd manifest.
const zstdNone = "none"

// codec turns a tar stream into a blob.
type codec struct {
	label     string // of the annotation and the cache: codec, library, version, level
	mediaType string
	new       func() (encoder, error)
	joins     bool // streams of wheels: the blob depends on more than the content
}

// file is the name of a layer's blob in the cache.
func (c codec) file(l *Layer) string {
	if c.joins && l.Wheels != "" {
		return c.label + "-" + l.Wheels
	}
	return c.label
}

// defaultGzip is the level that is meant by none, and GzipJoin asks for a
// [joiner].
const (
	defaultGzip = 6
	GzipJoin    = -2
)

// encoder is a compressor. Close ends a stream, and Reset makes it as good as
// new for the next.
type encoder interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// encoders keeps the compressors of a build for its next layers: one holds up
// to 30 MB, which is as slow to make as a small layer. There are never more
// than layers at once.
type encoders struct {
	mu   sync.Mutex
	idle map[string][]encoder // by label
}

// take returns an encoder that writes to w.
func (e *encoders) take(c codec, w io.Writer) (enc encoder, err error) {
	e.mu.Lock()
	if n := len(e.idle[c.label]); n > 0 {
		enc, e.idle[c.label] = e.idle[c.label][n-1], e.idle[c.label][:n-1]
	}
	e.mu.Unlock()
	if enc == nil {
		if enc, err = c.new(); err != nil {
			return nil, err
		}
	}
	enc.Reset(w)
	return enc, nil
}

// give takes an encoder back that was closed.
func (e *encoders) give(c codec, enc encoder) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.idle == nil {
		e.idle = map[string][]encoder{}
	}
	e.idle[c.label] = append(e.idle[c.label], enc)
}

// codecs returns what the input asks for: gzip first, because every client can
// read it and some take the first entry. The error wraps [bundle.ErrInvalid].
func (in *Input) codecs() (all []codec, err error) {
	level := cmp.Or(in.Gzip, defaultGzip)
	switch {
	case level == GzipJoin:
		all = append(all, codec{
			label:     fmt.Sprintf("gzip-klauspost-%s-join", compressVersion),
			mediaType: bundle.MediaTypeLayerGzip,
			new:       newJoiner,
			joins:     true,
		})
	case level != -1:
		if level < gzip.BestSpeed || level > gzip.BestCompression {
			return nil, fmt.Errorf("gzip level %d: want 1 to 9: %w", in.Gzip, bundle.ErrInvalid)
		}
		all = append(all, codec{
			label:     fmt.Sprintf("gzip-klauspost-%s-%d", compressVersion, level),
			mediaType: bundle.MediaTypeLayerGzip,
			new:       func() (encoder, error) { return gzip.NewWriterLevel(nil, level) },
		})
	}
	if in.Zstd != zstdNone {
		name, speed := in.Zstd, zstd.SpeedDefault
		switch name {
		case "", "fast":
			name = "fast"
		case "release":
			speed = zstd.SpeedBetterCompression
		case "best":
			speed = zstd.SpeedBestCompression
		default:
			return nil, fmt.Errorf("zstd level %q: want fast, release, best or none: %w", in.Zstd, bundle.ErrInvalid)
		}
		all = append(all, codec{
			label:     fmt.Sprintf("zstd-klauspost-%s-%s", compressVersion, name),
			mediaType: bundle.MediaTypeLayerZstd,
			new: func() (encoder, error) {
				return zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithWindowSize(zstdWindow), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
			},
		})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("neither gzip nor zstd asked for: %w", bundle.ErrInvalid)
	}
	return all, nil
}
