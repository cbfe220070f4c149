// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/cachedir"
	"github.com/metalpack/metalpack/internal/filelock"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// tempSuffix ends the name of a file in the cache that is being written.
const tempSuffix = ".tmp"

// lockCache takes the lock that builds in one cache share. One that finds it
// free clears what killed builds left.
func lockCache(ctx context.Context, dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return filelock.Shared(ctx, dir, os.O_RDONLY, func() error { return sweep(dir) })
}

// sweep removes unfinished files where blobs and interpreters lie.
func sweep(dir string) error {
	root := os.DirFS(dir)
	for _, pattern := range []string{"interpreters/*", "layers/*/*", "plans/*"} {
		names, err := fs.Glob(root, pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			base := path.Base(name)
			if !strings.HasSuffix(base, tempSuffix) && !strings.HasPrefix(base, ".") {
				continue
			}
			if err := removeAll(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
				return err
			}
		}
	}
	return nil
}

// cached looks for a blob in the cache. Its size is compared; its bytes are
// checked by whoever reads them, see [DamagedError]. One whose binaries nobody
// has looked at does not count.
func cached(cache string, l *Layer, c codec) (b blob, r blobRecord, ok bool) {
	file := filepath.Join(layerDir(cache, l), c.file(l))
	data, err := os.ReadFile(file + ".json")
	if err != nil || bundle.DecodeStrict(data, &r) != nil || bundle.CheckDigest(r.DiffID) != nil || bundle.CheckDigest(r.Digest) != nil || r.Binaries == nil {
		return blob{}, r, false
	}
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() != r.Size {
		return blob{}, r, false
	}
	cachedir.Touch(file + ".json")
	return blob{file, bundle.Descriptor{MediaType: c.mediaType, Digest: r.Digest, Size: r.Size}}, r, true
}

// writeMemo keeps what was learnt, as JSON below the sha256 of it, which keeps a
// flipped bit from becoming a file's name.
func writeMemo(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	return fsatomic.WriteFile(name, append([]byte(hex.EncodeToString(sum[:])+"\n"), data...), 0o644)
}

// readMemo reports whether there is a memo that is as it was written.
func readMemo(name string, v any) bool {
	data, err := os.ReadFile(name)
	if err != nil {
		return false
	}
	sum, body, _ := bytes.Cut(data, []byte("\n"))
	got := sha256.Sum256(body)
	return hex.EncodeToString(got[:]) == string(sum) && json.Unmarshal(body, v) == nil
}

// layerDir is where the cache has a layer in all codecs.
func layerDir(cache string, l *Layer) string { return filepath.Join(cache, "layers", l.Identity) }

// fromCache takes from the cache what there is of a layer; missing are the
// codecs, by number, that there is nothing of.
func fromCache(cache string, l *Layer, codecs []codec) (built *builtLayer, missing []int) {
	built = &builtLayer{name: l.Name, blobs: make([]blob, len(codecs))}
	for i, c := range codecs {
		found, record, ok := cached(cache, l, c)
		if !ok || built.diffID != "" && built.diffID != record.DiffID {
			missing = append(missing, i)
			continue
		}
		built.blobs[i], built.diffID, built.binaries = found, record.DiffID, record.Binaries
	}
	return built, missing
}

// DamagedError says that something in the cache is not what was written there.
// It is there no more: the next build makes it anew.
type DamagedError struct {
	What string // layer or interpreter
	Path string // where it lay
	Err  error  // wraps [bundle.ErrMismatch]
}

// Error names the file.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s in the build cache (%s) was damaged and has been removed: %v", e.What, e.Path, e.Err)
}

// Unwrap returns Err.
func (e *DamagedError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *DamagedError) Hint() string { return "build again: only that " + e.What + " is made anew" }

// open reads a blob from its beginning, verified, or from an offset as it is.
func (b blob) open(offset int64) (_ io.ReadCloser, err error) {
	f, err := os.Open(b.path)
	if err != nil {
		return nil, err
	}
	if offset > 0 {
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	}
	return &blobReader{Verifier: bundle.NewVerifier(f, b.desc), Closer: f, path: b.path}, nil
}

// blobReader drops a blob that turns out to be wrong.
type blobReader struct {
	*bundle.Verifier
	io.Closer
	path string
}

// Read implements io.Reader.
func (r *blobReader) Read(p []byte) (int, error) {
	n, err := r.Verifier.Read(p)
	if errors.Is(err, bundle.ErrMismatch) {
		// The record first: without it the blob counts for nothing.
		if rerr := removeAll(r.path+".json", r.path); rerr != nil {
			return n, errors.Join(err, rerr)
		}
		err = &DamagedError{What: "layer", Path: r.path, Err: err}
	}
	return n, err
}

// FileName implements [bundle.NamedStream].
func (r *blobReader) FileName() string { return r.path }

// removeAll removes files in their order; those that are not there do not count.
func removeAll(names ...string) error {
	for _, name := range names {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
