// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/diskspace"
	"github.com/metalpack/metalpack/internal/filestamp"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// settled is for how long a file must have been left alone before it is taken
// for one that nobody is at work on: Docker Model Runner (DMR) takes no lock,
// hashes a file of 100 GB for minutes, and lists a model after its last file.
const settled = time.Hour

// Unused is what of a store belongs to no model.
type Unused struct {
	Blobs   Amount `json:"blobs"`   // whole
	Partial Amount `json:"partial"` // downloads that did not end, ours and DMR's, and temporary files
	Other   Amount `json:"other"`   // manifests, and directories of links, DMR's and ours
	Kept    Amount `json:"kept"`    // what another program may be at work on; in none of the others
}

// BusyError says that DMR seems to be at work on the store.
type BusyError struct {
	File  string        // that changed
	Since time.Duration // ago
}

// Error implements error.
func (e *BusyError) Error() string {
	return fmt.Sprintf("model store: Docker Model Runner seems to be pulling: %s changed %s ago; nothing is removed", e.File, max(e.Since, 0).Round(time.Second))
}

// Hint is when it can be done.
func (e *BusyError) Hint() string {
	return "let it end, then repeat; a download that was given up counts for an hour after its last change"
}

// RemoveUnused removes what belongs to no model of models.json: blobs, manifests
// and links without an entry, and what killed downloads left. Under dry it only
// counts. Files that another program changed within the last hour stay, and so
// does whatever it may find there while it pulls. Errors: [*BusyError];
// [*DamagedError] for a model of which nobody can say what it uses;
// [bundle.ErrInvalid] for a damaged models.json, or none where there are models.
func (s *Store) RemoveUnused(ctx context.Context, dry bool, events bundle.EventFunc) (u Unused, err error) {
	unlock, err := s.lock(ctx, events)
	if err != nil {
		return u, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := s.checkWrite(); err != nil {
		return u, err
	}
	if _, err := os.Lstat(s.layoutPath()); err != nil {
		return u, nil // no store: its disk is perhaps not there
	}
	if !dry {
		if err := s.finishRemovals(ctx, events); err != nil {
			return u, err
		}
	}
	x, err := s.readIndex()
	if err != nil {
		return u, err
	}
	if err := s.knowsAll(x); err != nil {
		return u, err
	}
	w := sweep{s: s, used: s.used(x), dry: dry, now: time.Now(), u: &u, gone: map[digest.Digest]bool{}}
	if s.now != nil {
		w.now = s.now()
	}
	if err := w.hasIndex(); err != nil {
		return u, err
	}
	return u, errors.Join(w.run(ctx), s.syncNames(), s.warnLosers(w.gone, events))
}

// knowsAll refuses an index with an entry that names no file while its manifest
// cannot be read: what it uses would be taken for unused.
func (s *Store) knowsAll(x *index) error {
	for _, e := range x.entries {
		if bundle.CheckDigest(e.ID) == nil && len(e.Files) == 0 && len(s.blobsOf(e)) == 0 {
			_, err := s.manifest(e.ID)
			return fmt.Errorf("nothing is removed, as what this model uses is not known (or give it up: 'metalrun rm %s'): %w",
				e.label(), &DamagedError{Model: e.label(), Path: "its manifest", Err: err})
		}
	}
	return nil
}

// sweep is one run over a store.
type sweep struct {
	s    *Store
	used func(digest.Digest) bool // as a blob or a manifest
	dry  bool
	now  time.Time
	u    *Unused

	shared bool                   // another program has brought blobs, and may need those that were there
	gone   map[digest.Digest]bool // blobs that were removed
	names  diskspace.Counter      // a link to a file that was counted takes nothing
}

// hasIndex refuses a store with manifests whose models.json is lost: somebody
// has moved it away to pull its models again, or a crash has emptied it.
func (w *sweep) hasIndex() error {
	if info, err := os.Lstat(w.s.indexPath()); err == nil && info.Size() > 0 {
		return nil
	}
	manifests, err := w.read(w.s.dir, "manifests", "sha256")
	if err != nil {
		return err
	}
	for _, f := range manifests {
		if _, named := digestOf(f); named {
			return fmt.Errorf("%s is not there, or empty, and there are manifests of models: nothing is removed, as what they use is not known; pull the models again, then repeat: %w", w.s.indexPath(), bundle.ErrInvalid)
		}
	}
	return nil
}

// digestOf is the digest that a file is named by, if it is.
func digestOf(f fs.FileInfo) (d digest.Digest, named bool) {
	d = digest.NewDigestFromEncoded(digest.SHA256, f.Name())
	return d, bundle.CheckDigest(d) == nil
}

func (w *sweep) run(ctx context.Context) error {
	blobs, err := w.read(w.s.dir, "blobs", "sha256")
	if err != nil {
		return err
	}
	for _, f := range blobs {
		if w.age(f) >= settled || !f.Mode().IsRegular() {
			continue
		}
		if strings.HasSuffix(f.Name(), ".incomplete") && !isOurs(f.Name()) {
			return &BusyError{f.Name(), w.age(f)}
		}
		if d, named := digestOf(f); named && !w.used(d) && !w.s.isRemembered(d, f) {
			w.shared = true
		}
	}
	steps := []func() error{
		func() error { return w.files(blobs, &w.u.Blobs, "blobs", "sha256") },
		func() error { return w.dirOf(&w.u.Other, "manifests", "sha256") },
		func() error { return w.dirOf(nil) },
		w.links, func() error { return w.trees(ctx) }, w.memos,
	}
	for _, step := range steps {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// read lists a directory of ours or of the store; one that is not there is
// empty.
func (w *sweep) read(dir ...string) (out []fs.FileInfo, err error) {
	entries, err := os.ReadDir(filepath.Join(dir...))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if info, ierr := e.Info(); ierr == nil { // else it went away meanwhile
			out = append(out, info)
		}
	}
	return out, err
}

// age is how long a file or directory has been left alone.
func (w *sweep) age(f fs.FileInfo) time.Duration {
	stamp, ok := filestamp.Of(f)
	if !ok {
		return w.now.Sub(f.ModTime())
	}
	return w.now.Sub(stamp.Changed())
}

// dirOf looks at the files of one directory of the store.
func (w *sweep) dirOf(whole *Amount, dir ...string) error {
	files, err := w.read(append([]string{w.s.dir}, dir...)...)
	if err != nil {
		return err
	}
	return w.files(files, whole, dir...)
}

// files removes the temporary files among those of a directory, and, where
// whole counts them, the ones that are named by a digest which nothing uses.
// What has another name is nobody's business.
func (w *sweep) files(files []fs.FileInfo, whole *Amount, dir ...string) error {
	for _, f := range files {
		path := filepath.Join(append(append([]string{w.s.dir}, dir...), f.Name())...)
		d, named := digestOf(f)
		var err error
		switch ours := isOurs(f.Name()); {
		case !f.Mode().IsRegular():
		case named && whole != nil && !w.used(d):
			keep := w.shared || w.age(f) < settled && !w.s.isRemembered(d, f)
			if err = w.file(path, f, whole, keep); err == nil && !keep && !w.dry {
				w.gone[d], err = true, w.s.reached("emptied")
			}
		case ours, whole != nil && strings.HasSuffix(f.Name(), ".incomplete"), isTemp(f.Name()):
			err = w.file(path, f, &w.u.Partial, !ours && w.age(f) < settled)
		default:
			w.names.First(f) // so that an unused link to it takes nothing
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isOurs reports whether a name is that of a file of ours which is not whole.
// The lock says that nobody is at work on it.
func isOurs(name string) bool {
	return strings.HasSuffix(name, partialSuffix) || strings.HasSuffix(name, ".tmp-metalpack") || fsatomic.IsTemp(name)
}

// isTemp reports whether a name is one that DMR writes to before it renames.
func isTemp(name string) bool {
	name, _, ok := strings.Cut(name, ".tmp-")
	return ok && (name == "models.json" || name == "layout.json" || bundle.CheckDigest(digest.NewDigestFromEncoded(digest.SHA256, name)) == nil)
}

// file counts and removes a file, unless it is kept: another program may be at
// work on it.
func (w *sweep) file(path string, f fs.FileInfo, as *Amount, keep bool) error {
	if keep {
		w.u.Kept.add(f.Size())
		w.names.First(f)
		return nil
	}
	if w.names.First(f) {
		as.add(f.Size())
	}
	if w.dry {
		return nil
	}
	return removeIfThere(path)
}

// links removes DMR's directories of links for models that have no entry.
func (w *sweep) links() error {
	if !w.s.trusted("bundles") || !w.s.trusted("bundles/sha256") {
		return nil
	}
	dirs, err := w.read(w.s.dir, "bundles", "sha256")
	if err != nil {
		return err
	}
	for _, f := range dirs {
		if d, named := digestOf(f); !f.IsDir() || !named || w.used(d) || w.age(f) < settled {
			continue
		}
		if err := w.tree(filepath.Join(w.s.dir, "bundles", "sha256", f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// trees removes our own directories of links for models that have no entry any
// more: another program removed them.
func (w *sweep) trees(ctx context.Context) (err error) {
	unlock, err := w.s.lockTree(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	dirs, err := w.read(w.s.state, treesDir)
	if err != nil {
		return err
	}
	for _, f := range dirs {
		if d, named := digestOf(f); named && w.used(d) {
			continue
		}
		if err := w.tree(filepath.Join(w.s.state, treesDir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// tree counts and removes a directory of links.
func (w *sweep) tree(dir string) error {
	if err := w.names.Walk(dir, w.u.Other.add); err != nil || w.dry {
		return err
	}
	return os.RemoveAll(dir)
}

// memos forgets what was known of blobs that are gone. It is not worth counting.
func (w *sweep) memos() error {
	memos, err := w.read(w.s.state, verifiedDir)
	if err != nil || w.dry {
		return err
	}
	for _, f := range memos {
		d, named := digestOf(f)
		if _, there := w.s.blobSize(d); !there || !named {
			err = errors.Join(err, removeIfThere(w.s.memoPath(d)))
		}
	}
	return err
}
