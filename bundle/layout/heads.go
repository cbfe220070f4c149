// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// maxHeads caps the manifests that are read to find out what an entry of
// index.json is, in bytes of all together. Real referrers have 2 kB.
const maxHeads = 32 << 20

// heads remembers what entries are. Thousands of names can lead to one manifest
// of megabytes, and each question asks for all of them.
type heads struct {
	mu    sync.Mutex
	known map[digest.Digest]*manifestHead // nil = cannot be read
	bytes int64
}

// head is what an entry is, as far as its manifest can be read: a damaged
// stranger must not hide the others. The error wraps [bundle.ErrInvalid] when
// that would be too much work.
func (r *Reader) head(d bundle.Descriptor) (*manifestHead, error) {
	r.heads.mu.Lock()
	defer r.heads.mu.Unlock()
	if h, ok := r.heads.known[d.Digest]; ok {
		return h, nil
	}
	left := maxHeads - r.heads.bytes
	data, err := readSmall(r.files, blobName(d.Digest), min(left, bundle.MaxManifest))
	if err != nil && left < bundle.MaxManifest && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: index.json: the manifests of its entries have more than %d bytes: %w", r.name, maxHeads, bundle.ErrInvalid)
	}
	r.heads.bytes += int64(len(data))
	var h *manifestHead
	if err == nil {
		if read, err := headOf(data); err == nil {
			read.Manifests = nil // nobody asks for them
			h = &read
		}
	}
	if r.heads.known == nil {
		r.heads.known = map[digest.Digest]*manifestHead{}
	}
	r.heads.known[d.Digest] = h
	return h, nil
}
