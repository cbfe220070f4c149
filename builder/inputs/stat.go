// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/filehash"
)

// Where the bytes of a [Want] are, in a [Place].
const (
	InCache     = "cache"
	InDirectory = "directory" // wheels/ beside the lock, or --find-links
	InArchive   = "archive"   // an [Archive]
	AtURL       = "url"       // its own address
	OnIndex     = "index"     // by its name and sha256
	Nowhere     = "nowhere"   // no address is known
)

// Place says where the bytes of a want are.
type Place struct {
	Where   string
	Path    string // on this machine; "" when they must be got first
	Archive string // the name of the archive
	Size    int64  // bytes; 0 = not known
}

// Here reports whether nothing must be got first.
func (p Place) Here() bool { return p.Path != "" }

// Locate says where the bytes of w would come from, in the order of [Fetcher.Fetch],
// and changes nothing. A file in the cache is known by its name and size; one in
// a directory is read, and the error wraps [bundle.ErrMismatch] if it is another.
// Archives are opened for what nothing on this machine has, and their errors
// are returned.
func (f *Fetcher) Locate(ctx context.Context, w Want) (Place, error) {
	if err := checkSum(w.SHA256); err != nil {
		return Place{}, fmt.Errorf("%s: %w", w.label(), err)
	}
	if info, err := os.Stat(f.Cache.Path(w.SHA256)); err == nil && info.Mode().IsRegular() && (w.Size == 0 || info.Size() == w.Size) {
		return Place{Where: InCache, Path: f.Cache.Path(w.SHA256), Size: info.Size()}, nil
	}
	for _, path := range f.candidates(w) {
		p := Place{Where: InDirectory, Path: path}
		got, info, err := filehash.SHA256(ctx, p.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && got != w.SHA256 {
			err = fmt.Errorf("%s: want sha256:%s, got sha256:%s: %w", p.Path, w.SHA256, got, bundle.ErrMismatch)
		}
		if err != nil {
			return Place{}, fmt.Errorf("%s: %w", w.label(), err)
		}
		p.Size = info.Size()
		return p, nil
	}
	for _, open := range f.Archives {
		archive, err := open(ctx)
		if err != nil {
			return Place{}, err
		}
		if desc, ok := archive.files[w.SHA256]; ok {
			return Place{Where: InArchive, Archive: archive.name, Size: desc.Size}, nil
		}
	}
	switch {
	case w.URL != "":
		return Place{Where: AtURL, Size: w.Size}, nil
	case w.Target != nil:
		return Place{Where: OnIndex, Size: w.Size}, nil
	}
	return Place{Where: Nowhere, Size: w.Size}, nil
}
