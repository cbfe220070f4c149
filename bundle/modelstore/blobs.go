// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/filestamp"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// partialSuffix marks a download of ours. DMR writes <hex>.incomplete; two
// programs must not append to one file, but the ending is the same, so that
// its clearing of old downloads finds ours too.
const partialSuffix = ".metalpack.incomplete"

// Opener is where the bytes of blobs come from: Open is that of
// [bundle.Source].
type Opener interface {
	Open(ctx context.Context, desc bundle.Descriptor, offset int64) (io.ReadCloser, error)
}

// fetch brings one blob into the store unless a sound one is there.
func (s *Store) fetch(ctx context.Context, src Opener, d bundle.Descriptor, events bundle.EventFunc) error {
	e := bundle.Event{What: label(d), Digest: d.Digest.String(), Size: d.Size}
	err := s.verify(ctx, d, "", nil)
	switch {
	case err == nil:
		e.Kind, e.Reason = bundle.EventSkipped, "already there"
		events.Emit(e)
		return nil
	case errors.Is(err, bundle.ErrMismatch):
		e.Kind, e.Reason = bundle.EventNote, "the copy in the store is damaged; fetching it again"
		events.Emit(e)
		e.Reason = ""
	case !errors.Is(err, bundle.ErrNotFound):
		return err
	}
	partial := s.blobPath(d.Digest) + partialSuffix
	resumed, err := s.download(ctx, src, d, partial, e, events)
	if resumed && errors.Is(err, bundle.ErrMismatch) { // what was kept, not what came, may be wrong
		e.Kind, e.Attempt, e.Reason = bundle.EventRetry, 2, "the kept part was damaged"
		events.Emit(e)
		e.Reason = ""
		_, err = s.download(ctx, src, d, partial, e, events)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", label(d), err)
	}
	if err := fsatomic.Rename(partial, s.blobPath(d.Digest)); err != nil {
		return err
	}
	if err := errors.Join(s.remember(d.Digest), s.dropLinks(d.Digest)); err != nil {
		return err
	}
	e.Kind, e.Offset = bundle.EventDone, d.Size
	events.Emit(e)
	return nil
}

func label(d bundle.Descriptor) string {
	if p := d.Annotations[bundle.AnnotationFilepath]; p != "" && len(p) <= bundle.MaxPath {
		return p
	}
	return "blob " + d.Digest.Encoded()[:12]
}

// download completes the partial file. After a mismatch the file is removed;
// after any other error it stays, to be continued.
func (s *Store) download(ctx context.Context, src Opener, d bundle.Descriptor, partial string, e bundle.Event, events bundle.EventFunc) (resumed bool, err error) {
	f, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return false, err
	}
	defer func() {
		fsatomic.CloseErr(&err, f)
		if errors.Is(err, bundle.ErrMismatch) {
			err = errors.Join(err, os.Remove(partial))
		}
	}()
	h := sha256.New()
	offset, err := keptPrefix(ctx, f, h, d.Size)
	if err != nil {
		return false, err
	}
	e.Kind, e.Offset = bundle.EventStarted, offset
	events.Emit(e)
	in, err := src.Open(ctx, d, offset)
	if err != nil {
		return offset > 0, err
	}
	in = bundle.WithProgress(in, e, events)
	defer fsatomic.CloseErr(&err, in)
	// One more than is left, to notice trailing bytes.
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(ctxio.Reader(ctx, in), d.Size-offset+1))
	if err != nil {
		return offset > 0, err
	}
	if got := hex.EncodeToString(h.Sum(nil)); offset+n != d.Size || got != d.Digest.Encoded() {
		return offset > 0, fmt.Errorf("%s: got %d of %d bytes with sha256:%s: %w", d.Digest, offset+n, d.Size, got, bundle.ErrMismatch)
	}
	if err := f.Chmod(0o644); err != nil { // whatever the umask: DMR may run as another user
		return offset > 0, err
	}
	return offset > 0, f.Sync()
}

// keptPrefix hashes what a former download left and stands behind it. Whatever
// is longer than the blob is dropped.
func keptPrefix(ctx context.Context, f *os.File, h hash.Hash, size int64) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s: not a regular file: %w", f.Name(), bundle.ErrInvalid)
	}
	if info.Size() > size {
		return 0, f.Truncate(0)
	}
	return io.Copy(h, ctxio.Reader(ctx, f))
}

// verify hashes a blob of the store, unless it was hashed before and has not
// changed since; events hear of it as what. Errors: [bundle.ErrNotFound],
// [bundle.ErrMismatch].
func (s *Store) verify(ctx context.Context, d bundle.Descriptor, what string, events bundle.EventFunc) (err error) {
	f, err := openRegular(s.blobPath(d.Digest))
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != d.Size {
		return fmt.Errorf("%s: %d bytes instead of %d: %w", f.Name(), info.Size(), d.Size, bundle.ErrMismatch)
	}
	if s.isRemembered(d.Digest, info) {
		return nil
	}
	e := bundle.Event{Kind: bundle.EventStarted, What: what, Digest: d.Digest.String(), Size: d.Size}
	events.Emit(e)
	in := bundle.WithProgress(io.NopCloser(ctxio.Reader(ctx, f)), e, events)
	if err := bundle.NewVerifier(in, d).Finish(); err != nil {
		return err
	}
	e.Kind, e.Offset = bundle.EventDone, d.Size
	events.Emit(e)
	if err := s.rememberAs(d.Digest, info); err != nil { // the state before the hash: a change during it is a change
		note(events, "%s is right, but will be hashed again: %v", f.Name(), err)
	}
	return nil
}

// memoPath is where we note the stamp of a blob that was hashed.
func (s *Store) memoPath(d digest.Digest) string {
	return filepath.Join(s.state, verifiedDir, d.Encoded())
}

func (s *Store) isRemembered(d digest.Digest, info os.FileInfo) bool {
	now, ok := filestamp.Of(info)
	if !ok {
		return false
	}
	memo, err := os.ReadFile(s.memoPath(d))
	return err == nil && string(memo) == now.String()
}

func (s *Store) remember(d digest.Digest) error {
	info, err := os.Lstat(s.blobPath(d))
	if err != nil {
		return err
	}
	return s.rememberAs(d, info)
}

func (s *Store) rememberAs(d digest.Digest, info os.FileInfo) error {
	now, ok := filestamp.Of(info)
	if !ok {
		return nil
	}
	if err := s.makeState(); err != nil {
		return err
	}
	return fsatomic.WriteFile(s.memoPath(d), []byte(now.String()), 0o600)
}

// checkHeader parses the safetensors header of a verified blob: a right digest
// says whose bytes they are, not that an engine should read them.
func (s *Store) checkHeader(d bundle.Descriptor) (err error) {
	f, err := openRegular(s.blobPath(d.Digest))
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, f)
	_, err = model.ReadHeader(f, d.Size)
	return err
}
