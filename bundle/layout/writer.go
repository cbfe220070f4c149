// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/filelock"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// Writer writes artifacts into a layout. What was pushed and tagged shows
// after Commit and not before.
type Writer struct {
	name    string
	dir     string // the layout, or where an archive is staged
	archive string // the tar file; "" for a directory
	old     *Reader
	unlock  func() error                   // the lock that keeps unfinished files from being swept
	sizes   func() (map[int64]bool, error) // of the blobs that were there before the first of ours

	mu      sync.Mutex
	entries []bundle.Descriptor    // tags and referrers to come
	right   map[digest.Digest]bool // blobs that were hashed since Create
	done    bool
}

var (
	_ bundle.Target   = (*Writer)(nil)
	_ bundle.Ingester = (*Writer)(nil)
)

// Create opens a layout, directory or archive, for writing, and makes it if it
// is not there. What killed writers left unfinished is cleared. The caller
// calls Commit, and Close in any case. Errors: [bundle.ErrInvalid] if something
// else stands there.
func Create(ctx context.Context, ref bundle.Reference) (*Writer, error) {
	w := &Writer{name: string(ref.Transport) + ":" + ref.Path, right: map[digest.Digest]bool{}}
	var err error
	switch ref.Transport {
	case bundle.TransportLayout:
		w.dir = ref.Path
		if err = prepareDir(ctx, w.dir); err == nil {
			w.unlock, err = lockBlobs(ctx, w.dir)
		}
	case bundle.TransportArchive:
		err = w.stage(ctx, ref.Path)
	default:
		err = fmt.Errorf("neither a layout nor an archive: %w", bundle.ErrInvalid)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.name, err)
	}
	w.sizes = sync.OnceValues(w.blobSizes)
	return w, nil
}

// prepareDir makes dir a layout unless it is one. A directory with anything
// else in it is left alone: it may be the user's sources. The file oci-layout
// comes first, so that a layout that was begun is known as one.
func prepareDir(ctx context.Context, dir string) (err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	isLayout := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "oci-layout" })
	if len(entries) > 0 && !isLayout {
		return fmt.Errorf("directory is neither empty nor an OCI image layout: %w", bundle.ErrInvalid)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	unlock, err := filelock.Exclusive(ctx, filepath.Join(dir, "oci-layout"), filelock.Create)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := writeLayoutFile(filepath.Join(dir, "oci-layout")); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755)
}

// writeLayoutFile fills oci-layout, which is also the lock: it is written in
// place, since a rename would leave two processes with two locks.
func writeLayoutFile(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, f)
	if info, err := f.Stat(); err != nil || info.Size() > 0 {
		return err
	}
	if _, err := f.WriteString(layoutFile); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return fsatomic.SyncDir(filepath.Dir(path))
}

// noteReferrer lists a pushed manifest that has a subject, since nothing else
// names it.
func (w *Writer) noteReferrer(desc bundle.Descriptor) error {
	d, err := openDirectory(w.dir)
	if err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	data, err := readSmall(d, blobName(desc.Digest), bundle.MaxManifest)
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	h, err := headOf(data)
	if err != nil {
		return fmt.Errorf("%s: manifest %s: %w", w.name, desc.Digest, err)
	}
	if h.Subject != nil {
		entry := plain(desc)
		entry.ArtifactType = h.ArtifactType
		w.add(entry)
	}
	return nil
}

func (w *Writer) add(d bundle.Descriptor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries = merge(w.entries, []bundle.Descriptor{d})
}

// Tag implements [bundle.Target]; the name shows after Commit. Errors:
// [bundle.ErrNotFound] if the manifest was not pushed, [bundle.ErrInvalid].
func (w *Writer) Tag(ctx context.Context, desc bundle.Descriptor, name string) error {
	if !tagPattern.MatchString(name) {
		return fmt.Errorf("%s: tag %.140q: want letters, digits, '.', '_' and '-', at most 128: %w", w.name, name, bundle.ErrInvalid)
	}
	ok, err := w.Exists(ctx, desc)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%s: manifest %s: %w", w.name, desc.Digest, bundle.ErrNotFound)
	}
	entry := bundle.Descriptor{
		MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size,
		ArtifactType: desc.ArtifactType, Annotations: maps.Clone(desc.Annotations),
	}
	if entry.Annotations == nil {
		entry.Annotations = map[string]string{}
	}
	entry.Annotations[ocispec.AnnotationRefName] = name
	w.add(entry)
	return nil
}

// Commit makes visible what was tagged. It waits while another process
// commits to the same place.
func (w *Writer) Commit(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return nil
	}
	commit := w.commitDir
	if w.archive != "" {
		commit = w.commitArchive
	}
	if err := commit(ctx); err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	w.done = true
	return nil
}

// commitDir merges the new entries into index.json.
func (w *Writer) commitDir(ctx context.Context) (err error) {
	unlock, err := filelock.Exclusive(ctx, filepath.Join(w.dir, "oci-layout"), os.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	d, err := openDirectory(w.dir)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, d)
	old, err := newReader(w.name, d)
	if err != nil {
		return err
	}
	data, err := encodeIndex(merge(old.entries, w.entries))
	if err != nil {
		return err
	}
	// What the index names is there to stay before the index is.
	if err := fsatomic.SyncDir(filepath.Join(w.dir, "blobs", "sha256")); err != nil {
		return err
	}
	if there, err := readSmall(d, "index.json", bundle.MaxManifest); err == nil && bytes.Equal(there, data) {
		return nil
	}
	return fsatomic.WriteFile(filepath.Join(w.dir, "index.json"), data, 0o644)
}

// Close gives up what was not committed. In a directory its blobs stay, to be
// found by the next attempt.
func (w *Writer) Close() error {
	var err error
	if w.old != nil {
		err = w.old.Close()
		w.old = nil
	}
	if w.archive != "" {
		err = errors.Join(err, os.RemoveAll(w.dir))
	}
	if w.unlock != nil {
		err = errors.Join(err, w.unlock())
		w.unlock = nil
	}
	if err != nil && !strings.HasPrefix(err.Error(), w.name) {
		err = fmt.Errorf("%s: %w", w.name, err)
	}
	return err
}
