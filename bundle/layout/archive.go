// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/filelock"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

const (
	// mtime is the time of every entry: 1980-01-02, as in our layers.
	mtime = 315619200
	// maxUSTAR is the largest file a plain tar header can describe.
	maxUSTAR = 8<<30 - 1
)

// stage prepares to write the archive file: a directory beside it, so that the
// last step is a rename, and what the file holds now.
func (w *Writer) stage(ctx context.Context, file string) error {
	old, err := openOld(file)
	if err != nil {
		return err
	}
	dir, unlock, err := makeStaging(ctx, file)
	if err == nil {
		if err = prepareDir(ctx, dir); err != nil {
			err = errors.Join(err, os.RemoveAll(dir), unlock())
		}
	}
	if err != nil {
		if old != nil {
			err = errors.Join(err, old.Close())
		}
		return err
	}
	w.dir, w.archive, w.old, w.unlock = dir, file, old, unlock
	return nil
}

// openOld opens an archive that may not be there: nil then.
func openOld(file string) (*Reader, error) {
	r, err := Open(bundle.Reference{Transport: bundle.TransportArchive, Path: file})
	if errors.Is(err, bundle.ErrNotFound) {
		return nil, nil //nolint:nilnil // no archive is a result here, not a failure
	}
	return r, err
}

// commitArchive writes old and new artifacts into one file and puts it in the
// place of the old one. The lock is that of the directory: the file itself is
// replaced, and a lock file would be left lying about.
func (w *Writer) commitArchive(ctx context.Context) (err error) {
	parent := filepath.Dir(w.archive)
	unlock, err := filelock.Exclusive(ctx, parent, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	// Somebody may have replaced the file since it was opened.
	old, err := openOld(w.archive)
	if err != nil {
		return err
	}
	var entries []bundle.Descriptor
	held := []files{}
	if old != nil {
		defer fsatomic.CloseErr(&err, old)
		entries, held = old.entries, append(held, old.files)
	}
	if w.old != nil {
		held = append(held, w.old.files) // what Exists promised from it
	}
	staged, err := openDirectory(w.dir)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, staged)
	entries = merge(entries, w.entries)
	all, err := collect(append([]files{staged}, held...))
	if err != nil {
		return err
	}
	return w.writeArchive(ctx, entries, reachable(entries, all))
}

// collect maps the name of every blob to a place that holds it.
func collect(places []files) (map[string]files, error) {
	all := map[string]files{}
	for _, p := range places {
		names, err := p.names()
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			d := digest.NewDigestFromEncoded(digest.SHA256, strings.TrimPrefix(n, "blobs/sha256/"))
			if _, ok := all[n]; !ok && bundle.CheckDigest(d) == nil {
				all[n] = p
			}
		}
	}
	return all, nil
}

// reachable drops blobs that no entry leads to, such as those of an artifact
// whose tag has moved. If a manifest cannot be followed all are kept.
func reachable(entries []bundle.Descriptor, all map[string]files) map[string]files {
	out := map[string]files{}
	var walk func(d bundle.Descriptor, depth int) bool
	walk = func(d bundle.Descriptor, depth int) bool {
		name := blobName(d.Digest)
		p, ok := all[name]
		if !ok || out[name] != nil {
			return true // sparse layouts lack what the user left out
		}
		out[name] = p
		if !bundle.IsManifest(d.MediaType) {
			return true
		}
		data, err := readSmall(p, name, bundle.MaxManifest)
		if err != nil || depth > 2 {
			return false
		}
		children, err := bundle.Children(d.MediaType, data)
		if err != nil {
			return false
		}
		for _, c := range children {
			if !walk(c, depth+1) {
				return false
			}
		}
		return true
	}
	for _, d := range entries {
		if !walk(d, 0) {
			return all
		}
	}
	return out
}

// writeArchive writes the tar to a temporary file and renames it.
func (w *Writer) writeArchive(ctx context.Context, entries []bundle.Descriptor, blobs map[string]files) (err error) {
	index, err := encodeIndex(entries)
	if err != nil {
		return err
	}
	temp := filepath.Join(w.dir, "archive.tar") // removed with the staging directory
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = writeTar(ctx, f, index, blobs)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return fsatomic.Rename(temp, w.archive)
}

// writeTar writes the entries in byte order of their names.
func writeTar(ctx context.Context, f io.Writer, index []byte, blobs map[string]files) error {
	t := tar.NewWriter(f)
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := t.WriteHeader(header(dir, tar.TypeDir, 0o755, 0)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(blobs)) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := writeBlobEntry(ctx, t, name, blobs[name]); err != nil {
			return err
		}
	}
	for _, file := range []struct {
		name string
		data []byte
	}{{"index.json", index}, {"oci-layout", []byte(layoutFile)}} {
		if err := t.WriteHeader(header(file.name, tar.TypeReg, 0o644, int64(len(file.data)))); err != nil {
			return err
		}
		if _, err := io.Copy(t, bytes.NewReader(file.data)); err != nil {
			return err
		}
	}
	return t.Close()
}

// writeBlobEntry copies one blob, hashing it again: what another program put
// into the old archive is not taken on trust into the new one.
func writeBlobEntry(ctx context.Context, t *tar.Writer, name string, from files) (err error) {
	s, err := from.open(name)
	if err != nil {
		return err
	}
	defer closeInto(&err, s)
	if err := t.WriteHeader(header(name, tar.TypeReg, 0o644, s.Size())); err != nil {
		return err
	}
	d := digest.NewDigestFromEncoded(digest.SHA256, strings.TrimPrefix(name, "blobs/sha256/"))
	if _, err := io.Copy(t, bundle.NewVerifier(ctxio.Reader(ctx, s), bundle.Descriptor{Digest: d, Size: s.Size()})); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// header is an entry's header without anything of this machine in it.
func header(name string, typ byte, mode, size int64) *tar.Header {
	h := &tar.Header{
		Name: name, Typeflag: typ, Mode: mode, Size: size,
		ModTime: time.Unix(mtime, 0).UTC(), Format: tar.FormatUSTAR,
	}
	if size > maxUSTAR {
		h.Format = tar.FormatPAX
	}
	return h
}
