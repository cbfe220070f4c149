// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/diskspace"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Amount is a number of files and their bytes on the disk.
type Amount struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

func (a *Amount) add(n int64) {
	a.Files++
	a.Bytes += n
}

// Usage is what a store takes on the disk. Every blob is counted once.
type Usage struct {
	Models       []ModelUsage // in the order of models.json
	Used         Amount       // blobs that a model uses
	Shared       Amount       // of those, the ones that several use
	Unreferenced Amount       // whole blobs that none uses
	Partial      Amount       // downloads that did not end, ours and DMR's
	Links        Amount       // files in DMR's directories of links that are no link to a blob any more
	Copies       Amount       // small files in our directories of links
}

// ModelUsage is what one model takes.
type ModelUsage struct {
	Model
	Blobs   Amount // that are there
	Own     Amount // of those, the ones that no other model uses
	Missing int    // blobs that are not there
}

// Usage measures the store. Nothing is hashed. The error wraps
// [bundle.ErrInvalid] if models.json is damaged.
func (s *Store) Usage() (Usage, error) {
	var u Usage
	x, err := s.readIndex()
	if err != nil {
		return u, err
	}
	var names diskspace.Counter // blobs first, so that links to them count nothing
	sizes, err := s.blobSizes(&u, &names)
	if err != nil {
		return u, err
	}
	users := map[digest.Digest]int{}
	lists := make([][]digest.Digest, len(x.entries))
	for i, e := range x.entries {
		lists[i] = s.blobsOf(e)
		for _, d := range lists[i] {
			users[d]++
		}
	}
	for i, e := range x.entries {
		m := ModelUsage{Model: s.load(e)}
		for _, d := range lists[i] {
			size, ok := sizes[d]
			switch {
			case !ok:
				m.Missing++
				continue
			case users[d] == 1:
				m.Own.add(size)
			}
			m.Blobs.add(size)
		}
		u.Models = append(u.Models, m)
	}
	for d, size := range sizes {
		switch n := users[d]; {
		case n == 0:
			u.Unreferenced.add(size)
			continue
		case n > 1:
			u.Shared.add(size)
		}
		u.Used.add(size)
	}
	if s.trusted("bundles") && s.trusted("bundles/sha256") {
		err = names.Walk(filepath.Join(s.dir, "bundles", "sha256"), u.Links.add)
	}
	return u, errors.Join(err, names.Walk(filepath.Join(s.state, treesDir), u.Copies.add))
}

// blobSizes are the blobs of the store with their sizes in bytes; what is not
// whole goes into u.
func (s *Store) blobSizes(u *Usage, names *diskspace.Counter) (map[digest.Digest]int64, error) {
	files, err := os.ReadDir(filepath.Join(s.dir, "blobs", "sha256"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	sizes := map[digest.Digest]int64{}
	for _, f := range files {
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue // removed meanwhile, or nothing of the store's
		}
		if err != nil {
			return nil, err
		}
		names.First(info)
		d := digest.NewDigestFromEncoded(digest.SHA256, f.Name())
		switch {
		case bundle.CheckDigest(d) == nil:
			sizes[d] = info.Size()
		case strings.HasSuffix(f.Name(), ".incomplete"), fsatomic.IsTemp(f.Name()), isTemp(f.Name()):
			u.Partial.add(info.Size())
		}
	}
	return sizes, nil
}

// BlobState is what can be said of a blob without reading it.
type BlobState string

// The states of a blob.
const (
	BlobVerified BlobState = "verified"   // hashed, and unchanged since
	BlobThere    BlobState = "not hashed" // of the right size; hashed on first use
	BlobDamaged  BlobState = "damaged"    // of another size, or no file
	BlobMissing  BlobState = "missing"
)

// State looks at the blob of one file of a model.
func (s *Store) State(d bundle.Descriptor) BlobState {
	info, err := os.Lstat(s.blobPath(d.Digest))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return BlobMissing
	case err != nil, !info.Mode().IsRegular(), info.Size() != d.Size:
		return BlobDamaged
	case s.isRemembered(d.Digest, info):
		return BlobVerified
	}
	return BlobThere
}

// Shared says what a model of the store has in common with the others.
func (s *Store) Shared(m Model) ([]Shared, error) {
	x, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	var blobs []digest.Digest
	var others []entry
	for _, e := range x.entries {
		if e.ID == m.ID {
			blobs = append(blobs, s.blobsOf(e)...)
		} else {
			others = append(others, e)
		}
	}
	return s.sharing(others, blobs), nil
}
