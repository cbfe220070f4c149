// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"fmt"
	"io"

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
	new       func(io.Writer) (io.WriteCloser, error)
}

// codecs returns what the input asks for: gzip first, because every client can
// read it and some take the first entry. The error wraps [bundle.ErrInvalid].
func (in *Input) codecs() (all []codec, err error) {
	level := in.Gzip
	if level == 0 {
		level = 6
	}
	if level != -1 {
		if level < gzip.BestSpeed || level > gzip.BestCompression {
			return nil, fmt.Errorf("gzip level %d: want 1 to 9: %w", in.Gzip, bundle.ErrInvalid)
		}
		all = append(all, codec{
			label:     fmt.Sprintf("gzip-klauspost-%s-%d", compressVersion, level),
			mediaType: bundle.MediaTypeLayerGzip,
			new:       func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, level) },
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
			new: func(w io.Writer) (io.WriteCloser, error) {
				return zstd.NewWriter(w, zstd.WithEncoderLevel(speed), zstd.WithWindowSize(zstdWindow), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
			},
		})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("neither gzip nor zstd asked for: %w", bundle.ErrInvalid)
	}
	return all, nil
}
