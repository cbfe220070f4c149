// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// DefaultParallel is how many files move at once unless told otherwise.
const DefaultParallel = 8

// Fetcher gets files by sha256.
type Fetcher struct {
	Cache     *Cache
	FindLinks []string                                  // directories, or wheelhouses, that may hold files by name; those that do not exist are passed over
	Archives  []func(context.Context) (*Archive, error) // opened only when something is missing; the caller closes what they opened
	UV        func(context.Context) (lock.UV, error)    // called only when the index must be asked; nil = never
	Client    *http.Client                              // nil = one connection per file, HTTP/1.1
	CAFile    string                                    // certificates to trust besides the system's, PEM; "" = none; without Client
	Offline   bool                                      // neither addresses nor the index
	Parallel  int                                       // 0 = [DefaultParallel]
	Events    bundle.EventFunc

	// Wait passes the time between two tries; nil = a timer.
	Wait func(ctx context.Context, d time.Duration) error
}

// Fetch returns the path of every wanted file, keyed by sha256, once all of
// them are in the cache. Bytes that do not match end it at once with an error
// that wraps [bundle.ErrMismatch] and names package, file and both hashes; a
// full disk with a [*diskspace.Error]; an archive that cannot be opened with
// its error; whatever else cannot be got is listed in one [*MissingError].
func (f *Fetcher) Fetch(ctx context.Context, wants []Want) (_ map[string]string, err error) {
	wants, err = unique(wants)
	if err != nil {
		return nil, err
	}
	release, err := f.Cache.Hold(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	j := &job{Fetcher: f, wants: wants, reasons: make(map[string]error), sizes: make(map[string]int64)}
	if j.client = f.Client; j.client == nil {
		if j.client, err = newClient(f.CAFile); err != nil {
			return nil, err
		}
	}
	missing, err := j.search(ctx)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, j.missing(missing)
	}
	paths := make(map[string]string, len(wants))
	for _, w := range wants {
		paths[w.SHA256] = f.Cache.Path(w.SHA256)
	}
	return paths, nil
}

// job is one call of Fetch.
type job struct {
	*Fetcher
	client *http.Client
	wants  []Want
	waits  sync.Once // the user is told of another process once

	mu      sync.Mutex
	reasons map[string]error // why a file was not got, by sha256
	sizes   map[string]int64 // that a server told
}

// search looks in all places, one after the other, and returns what none has.
func (j *job) search(ctx context.Context) ([]Want, error) {
	missing, err := j.each(ctx, j.wants, j.cached)
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	if err := j.checkSpace(); err != nil {
		return nil, err
	}
	if missing, err = j.each(ctx, missing, j.linked); err != nil {
		return nil, err
	}
	for _, open := range j.Archives {
		if len(missing) == 0 {
			break
		}
		archive, err := open(ctx)
		if err != nil {
			return nil, err
		}
		missing, err = j.each(ctx, missing, func(ctx context.Context, w Want) (bool, error) { return j.fromArchive(ctx, w, archive) })
		if err != nil {
			return nil, err
		}
	}
	if j.Offline {
		return missing, nil
	}
	if missing, err = j.each(ctx, missing, j.own); err != nil {
		return nil, err
	}
	return j.index(ctx, missing)
}

func (j *job) because(w Want, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reasons[w.SHA256] = err
}

// each tries a source for every want at once and returns, in their order,
// those it did not have.
func (j *job) each(ctx context.Context, wants []Want, try func(context.Context, Want) (bool, error)) ([]Want, error) {
	got := make([]bool, len(wants))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(j.Parallel, 1))
	if j.Parallel == 0 {
		g.SetLimit(DefaultParallel)
	}
	for i, w := range wants {
		g.Go(func() (err error) {
			if got[i], err = try(gctx, w); err != nil {
				return fmt.Errorf("%s: %w", w.label(), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var missing []Want
	for i, w := range wants {
		if !got[i] {
			missing = append(missing, w)
		}
	}
	return missing, nil
}

// cached looks into the cache, and says so if what lay there was damaged.
func (j *job) cached(ctx context.Context, w Want) (bool, error) {
	_, absent := os.Lstat(j.Cache.Path(w.SHA256))
	ok, err := j.Cache.Verify(ctx, w.SHA256)
	switch {
	case ok:
		j.skipped(w, "in the cache")
	case err == nil && absent == nil:
		j.Events.Emit(bundle.Event{Kind: bundle.EventNote, What: w.File, Reason: w.File + ": the copy in the cache was damaged and has been removed"})
	}
	return ok, err
}

func (j *job) skipped(w Want, reason string) {
	e := w.event(bundle.EventSkipped)
	if info, err := os.Stat(j.Cache.Path(w.SHA256)); err == nil {
		e.Size = info.Size()
	}
	e.Reason = reason
	j.Events.Emit(e)
}

// candidates lists where the directories may have a file: itself, and where a
// [Wheelhouse] has it.
func (f *Fetcher) candidates(w Want) (paths []string) {
	for _, dir := range f.FindLinks {
		for _, below := range []string{"", WheelsDir, InterpretersDir} {
			paths = append(paths, filepath.Join(dir, below, w.File))
		}
	}
	return paths
}

// linked looks into the directories.
func (j *job) linked(ctx context.Context, w Want) (bool, error) {
	for _, path := range j.candidates(w) {
		ok, err := j.copyFrom(ctx, w, path)
		if err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

// copyFrom puts a file on disk into the cache, if it is there.
func (j *job) copyFrom(ctx context.Context, w Want, path string) (_ bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() { // to open a FIFO takes until somebody writes, whatever ctx says
		return false, fmt.Errorf("%s: not a regular file: %w", path, bundle.ErrInvalid)
	}
	src, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer fsatomic.CloseErr(&err, src)
	return j.fill(ctx, w, path, func(p *partial) error {
		if err := p.restart(); err != nil { // a disk is faster than finding out what fits
			return err
		}
		return p.copy(ctx, bundle.WithProgress(io.NopCloser(src), j.at(w, info.Size(), 0), j.Events), w.Size)
	})
}

// at is a progress event, with the size that was told by now (0 = none new).
func (j *job) at(w Want, size, offset int64) bundle.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	if size > 0 {
		j.sizes[w.SHA256] = size
	}
	if w.Size == 0 {
		w.Size = j.sizes[w.SHA256]
	}
	e := w.event(bundle.EventProgress)
	e.Offset = offset
	return e
}

// fill brings a file into the cache by get, which appends what a partial one
// lacks. Another process that is at it is waited for. False means that from
// does not have the file or cannot be reached; the reason is kept.
func (j *job) fill(ctx context.Context, w Want, from string, get func(*partial) error) (_ bool, err error) {
	unlock, err := j.Cache.lock(ctx, w.SHA256, j.waiting(w))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if ok, err := j.Cache.Verify(ctx, w.SHA256); err != nil || ok {
		if ok {
			j.skipped(w, "another process brought it")
		}
		return ok, err
	}
	p, err := j.Cache.openPartial(ctx, w.SHA256)
	if err != nil {
		return false, j.spaceError(err)
	}
	defer p.close(&err)
	start := w.event(bundle.EventStarted)
	start.Offset = p.size
	j.Events.Emit(start)
	if err := j.complete(w, p, get); err != nil {
		return false, j.failed(ctx, w, from, p, err)
	}
	done := w.event(bundle.EventDone)
	done.Offset, done.Size = p.size, p.size
	j.Events.Emit(done)
	return true, nil
}

// waiting tells the user, once, that another process has a lock.
func (j *job) waiting(w Want) func(holder string) {
	return func(holder string) {
		j.waits.Do(func() {
			j.Events.Emit(bundle.Event{Kind: bundle.EventNote, What: w.File, Reason: fmt.Sprintf("another process (%s) is fetching %s; waiting for it", holder, w.File)})
		})
	}
}

// complete gets what p lacks and gives it its name. If the end does not fit
// what an earlier run left, that may be at fault: then once more from the
// beginning.
func (j *job) complete(w Want, p *partial, get func(*partial) error) error {
	for again := p.size > 0; ; again = false {
		err := get(p)
		if err == nil {
			err = j.Cache.commit(p, w.SHA256, w.Size)
		}
		if !again || !errors.Is(err, bundle.ErrMismatch) {
			return err
		}
		if err := p.restart(); err != nil {
			return err
		}
	}
}

// failed classes what went wrong: nil if the next place may do better. What is
// right so far stays, for the next attempt to go on from there.
func (j *job) failed(ctx context.Context, w Want, from string, p *partial, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, bundle.ErrMismatch) {
		if from != "" {
			err = fmt.Errorf("%s: %w", from, err)
		}
		return errors.Join(err, p.discard())
	}
	if _, ok := errors.AsType[*fetchError](err); !ok {
		return j.spaceError(err)
	}
	j.because(w, err)
	if p.size == 0 {
		return p.discard()
	}
	return nil
}

// own downloads from the file's own URL.
func (j *job) own(ctx context.Context, w Want) (bool, error) {
	if w.URL == "" {
		return false, nil
	}
	return j.fromURL(ctx, w, w.URL)
}
