// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/diskspace"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// removingDir is where, in our state, removals are noted before they begin, so
// that the next command can end what was killed.
const removingDir = "removing"

// maxNote caps such a note, in bytes: it names no more than models.json does.
const maxNote = maxIndex

// removal is a model that is being removed, and the blobs it named.
type removal struct {
	ID    digest.Digest   `json:"id"`
	Blobs []digest.Digest `json:"blobs"`
}

// notePath is where a removal is noted.
func (s *Store) notePath(r removal) string {
	id := r.ID
	if id == "" {
		id = digest.FromString(fmt.Sprint(r.Blobs))
	}
	return filepath.Join(s.state, removingDir, id.Encoded())
}

// begin notes a removal.
func (s *Store) begin(r removal) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := fsatomic.WriteFile(s.notePath(r), data, 0o600); err != nil {
		return fmt.Errorf("model store: state: %w", err)
	}
	return s.reached("noted")
}

// settle forgets a removal that is over.
func (s *Store) settle(r removal) error { return removeIfThere(s.notePath(r)) }

// finishRemovals ends what killed removals left undone. The caller has the
// lock, so nobody is at work on them.
func (s *Store) finishRemovals(ctx context.Context, events bundle.EventFunc) error {
	notes, err := os.ReadDir(filepath.Join(s.state, removingDir))
	if err != nil {
		return err
	}
	for _, n := range notes {
		path := filepath.Join(s.state, removingDir, n.Name())
		r, err := readNote(path)
		if err != nil || fsatomic.IsTemp(n.Name()) { // only a note: what it was about is unreferenced
			if err := removeIfThere(path); err != nil {
				return err
			}
			continue
		}
		note(events, "ending a removal that was cut")
		if _, _, err := s.carryOut(ctx, r, events); err != nil {
			note(events, "it could not be ended: %v", err) // the next command tries again
		}
	}
	return nil
}

func readNote(path string) (r removal, err error) {
	f, err := openRegular(path)
	if err != nil {
		return r, err
	}
	defer fsatomic.CloseErr(&err, f)
	data, err := io.ReadAll(io.LimitReader(f, maxNote))
	if err != nil {
		return r, err
	}
	if err := bundle.DecodeStrict(data, &r); err != nil {
		return r, err
	}
	for _, d := range r.Blobs {
		err = errors.Join(err, bundle.CheckDigest(d))
	}
	if r.ID != "" {
		err = errors.Join(err, bundle.CheckDigest(r.ID))
	}
	return r, err
}

// carryOut removes the files of a model that models.json no longer lists, and
// returns how many blobs went and how many bytes that freed.
func (s *Store) carryOut(ctx context.Context, r removal, events bundle.EventFunc) (files int, freed int64, err error) {
	x, err := s.readIndex()
	if err != nil {
		return 0, 0, err
	}
	if r.ID != "" && slices.ContainsFunc(x.entries, func(e entry) bool { return e.ID == r.ID }) {
		return 0, 0, s.settle(r) // killed before the entry went, or pulled again since
	}
	if err := s.removeOwn(ctx, r.ID); err != nil {
		return 0, 0, err
	}
	gone, freed, err := s.removeBlobs(r, s.used(x))
	if err != nil {
		return len(gone), freed, err
	}
	if err := s.syncNames(); err != nil {
		return len(gone), freed, err
	}
	return len(gone), freed, errors.Join(s.warnLosers(gone, events), s.settle(r))
}

// removeBlobs removes the blobs of a removal that are not used, and returns
// which, and the bytes that this freed.
func (s *Store) removeBlobs(r removal, used func(digest.Digest) bool) (gone map[digest.Digest]bool, freed int64, err error) {
	gone = map[digest.Digest]bool{}
	for _, d := range r.Blobs {
		if used(d) || gone[d] {
			continue
		}
		n, err := s.removeBlob(d)
		if err != nil {
			return gone, freed, err
		}
		gone[d], freed = true, freed+n
		if err := s.reached("emptied"); err != nil {
			return gone, freed, err
		}
	}
	return gone, freed, nil
}

// removeOwn removes what belongs to one model whatever others have in common
// with it: our directory of links, DMR's, and the manifest.
func (s *Store) removeOwn(ctx context.Context, id digest.Digest) error {
	if id == "" {
		return nil
	}
	unlock, err := s.lockTree(ctx)
	if err != nil {
		return err
	}
	err = os.RemoveAll(filepath.Join(s.state, treesDir, id.Encoded()))
	if err = errors.Join(err, unlock()); err != nil {
		return err
	}
	if err := s.removeLinks(id); err != nil { // they would keep the bytes of the blobs on the disk
		return err
	}
	return removeIfThere(s.manifestPath(id))
}

// removeLinks removes DMR's directory of links of a model. DMR makes one when it
// loads the model and there is none.
func (s *Store) removeLinks(id digest.Digest) error {
	if !s.trusted("bundles") || !s.trusted("bundles/sha256") {
		return nil
	}
	return os.RemoveAll(filepath.Join(s.dir, "bundles", "sha256", id.Encoded()))
}

// dropLinks removes DMR's links of all models that use a blob which has been
// replaced: they lead to the file that was damaged, and DMR would go on with it.
func (s *Store) dropLinks(d digest.Digest) error {
	x, err := s.readIndex()
	if err != nil {
		return err
	}
	for _, e := range x.entries {
		if bundle.CheckDigest(e.ID) == nil && slices.Contains(s.blobsOf(e), d) {
			err = errors.Join(err, s.removeLinks(e.ID))
		}
	}
	return err
}

// trusted reports whether a directory of the store is there and may be changed.
func (s *Store) trusted(sub string) bool {
	info, err := os.Lstat(filepath.Join(s.dir, filepath.FromSlash(sub)))
	return err == nil && distrust(info) == ""
}

// used returns whether anything in models.json names a blob: any word of it,
// also where no entry was understood, and the manifests that are named so.
func (s *Store) used(x *index) func(digest.Digest) bool {
	named := map[string]bool{}
	for _, word := range bytes.FieldsFunc(x.data, notHex) {
		named[string(word)] = true
		for _, d := range s.blobsOf(entry{ID: digest.NewDigestFromEncoded(digest.SHA256, string(word))}) {
			named[d.Encoded()] = true
		}
	}
	return func(d digest.Digest) bool { return named[d.Encoded()] }
}

func notHex(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') }

// blobsOf lists the blobs of an entry, each once: those that models.json names,
// and those of its manifest, which it need not agree with.
func (s *Store) blobsOf(e entry) []digest.Digest {
	var out []digest.Digest
	seen := map[digest.Digest]bool{}
	add := func(d digest.Digest) {
		if !seen[d] && bundle.CheckDigest(d) == nil {
			out = append(out, d)
		}
		seen[d] = true
	}
	for _, f := range e.Files {
		add(digest.Digest(f))
	}
	if m, err := s.manifest(e.ID); err == nil {
		for _, l := range m.Layers {
			add(l.Digest)
		}
		add(m.Config.Digest)
	}
	return out
}

// blobSize is the size of a blob in bytes, if it is there.
func (s *Store) blobSize(d digest.Digest) (int64, bool) {
	info, err := os.Lstat(s.blobPath(d))
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return info.Size(), true
}

// removeBlob removes a blob, what was fetched of it, and what we know of it,
// and returns the bytes that this freed.
func (s *Store) removeBlob(d digest.Digest) (freed int64, err error) {
	path := s.blobPath(d)
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && diskspace.Names(info) == 1 {
		freed = info.Size()
	}
	for _, p := range []string{path, path + partialSuffix, s.memoPath(d)} {
		if err := removeIfThere(p); err != nil {
			return 0, err
		}
	}
	return freed, nil
}

// syncNames makes what was removed stay removed.
func (s *Store) syncNames() error {
	for _, sub := range []string{"blobs", "manifests"} {
		if err := fsatomic.SyncDir(filepath.Join(s.dir, sub, "sha256")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// warnLosers tells of models that another program added while blobs of theirs
// were removed.
func (s *Store) warnLosers(gone map[digest.Digest]bool, events bundle.EventFunc) error {
	x, err := s.readIndex()
	if err != nil {
		return err
	}
	for _, e := range x.entries {
		if gone[e.ID] || slices.ContainsFunc(s.blobsOf(e), func(d digest.Digest) bool { return gone[d] }) {
			note(events, "%s was added meanwhile and has lost files: 'metalrun verify --repair %[1]s' fetches them again", e.label())
		}
	}
	return nil
}

// note is a sentence for the user.
func note(events bundle.EventFunc, format string, args ...any) {
	events.Emit(bundle.Event{Kind: bundle.EventNote, What: "model store", Reason: fmt.Sprintf(format, args...)})
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
