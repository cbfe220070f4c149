// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
	"github.com/metalpack/metalpack/recipes"
)

// Want is a file to get.
type Want struct {
	Name    string // package, or "cpython"
	Version string
	File    string // name under which directories may hold it
	SHA256  string // hex
	Size    int64  // 0 = unknown
	URL     string // "" = none of its own
	Target  *target.Target
}

// label names a want in messages.
func (w Want) label() string { return fmt.Sprintf("%s %s (%s)", w.Name, w.Version, w.File) }

// Wheels makes wants of the wheels of a target.
func Wheels(t *target.Target, wheels []lock.Wheel) []Want {
	out := make([]Want, 0, len(wheels))
	for _, w := range wheels {
		out = append(out, Want{Name: w.Name, Version: w.Version, File: w.File, SHA256: w.SHA256, Size: w.Size, URL: w.URL, Target: t})
	}
	return out
}

// Interpreter makes the want of an interpreter archive.
func Interpreter(in recipes.Interpreter) Want {
	return Want{Name: "cpython", Version: in.Version, File: in.File, SHA256: in.SHA256, URL: in.URL}
}

// DefaultParallel is how many files move at once unless told otherwise.
const DefaultParallel = 8

// Fetcher gets files by sha256.
type Fetcher struct {
	Cache     *Cache
	FindLinks []string                               // directories that may hold files by name; those that do not exist are passed over
	UV        func(context.Context) (lock.UV, error) // called only when the index must be asked; nil = never
	Client    *http.Client                           // nil = one connection per file, HTTP/1.1
	Offline   bool                                   // only the cache and the directories
	Parallel  int                                    // 0 = [DefaultParallel]
	Events    bundle.EventFunc

	RetryDelay time.Duration // before the second attempt, doubled with each; 0 = 200 ms
}

// MissingError lists what could not be got. It wraps the reasons:
// [bundle.ErrNotFound], [bundle.ErrUnreachable], [lock.ErrNoUV] and others.
type MissingError struct {
	Missing []Want
	Err     error
}

// Error names every missing file with its sha256.
func (e *MissingError) Error() string {
	var b strings.Builder
	b.WriteString("1 file is missing:")
	if len(e.Missing) != 1 {
		b.Reset()
		fmt.Fprintf(&b, "%d files are missing:", len(e.Missing))
	}
	for _, w := range e.Missing {
		fmt.Fprintf(&b, "\n  %s sha256:%s", w.label(), w.SHA256)
	}
	fmt.Fprintf(&b, "\n%v", e.Err)
	return b.String()
}

// Unwrap returns the reasons.
func (e *MissingError) Unwrap() error { return e.Err }

// Fetch returns the path of every wanted file, keyed by sha256, once all of
// them are in the cache. Bytes that do not match end it at once with an error
// that wraps [bundle.ErrMismatch] and names package, file and both hashes;
// whatever else cannot be got is listed in one [*MissingError].
func (f *Fetcher) Fetch(ctx context.Context, wants []Want) (map[string]string, error) {
	wants, err := unique(wants)
	if err != nil {
		return nil, err
	}
	j := &job{Fetcher: f, reasons: make(map[string]error)}
	if j.client = f.Client; j.client == nil {
		j.client = newClient()
	}
	missing, err := j.each(ctx, wants, j.local)
	if err != nil {
		return nil, err
	}
	if !f.Offline {
		if missing, err = j.each(ctx, missing, j.own); err != nil {
			return nil, err
		}
		if missing, err = j.index(ctx, missing); err != nil {
			return nil, err
		}
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

// unique drops repeated digests and checks what is wanted.
func unique(wants []Want) ([]Want, error) {
	seen := make(map[string]bool, len(wants))
	var out []Want
	for _, w := range wants {
		if err := checkSum(w.SHA256); err != nil {
			return nil, fmt.Errorf("%s: %w", w.label(), err)
		}
		if err := bundle.CheckPath(w.File); err != nil || strings.Contains(w.File, "/") || w.Size < 0 {
			return nil, fmt.Errorf("%s: want a file name and a size: %w", w.label(), bundle.ErrInvalid)
		}
		if !seen[w.SHA256] {
			seen[w.SHA256] = true
			out = append(out, w)
		}
	}
	return out, nil
}

// job is one call of Fetch.
type job struct {
	*Fetcher
	client  *http.Client
	mu      sync.Mutex
	reasons map[string]error // why a file was not got, by sha256
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

// local looks into the cache and the directories.
func (j *job) local(ctx context.Context, w Want) (bool, error) {
	ok, err := j.Cache.Verify(ctx, w.SHA256)
	if err != nil || ok {
		if ok {
			j.Events.Emit(bundle.Event{Kind: bundle.EventSkipped, What: w.File, Digest: "sha256:" + w.SHA256, Size: w.Size, Reason: "in the cache"})
		}
		return ok, err
	}
	for _, dir := range j.FindLinks {
		ok, err := j.copyFrom(ctx, w, filepath.Join(dir, w.File))
		if err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

// copyFrom puts a file on disk into the cache, if it is there.
func (j *job) copyFrom(ctx context.Context, w Want, path string) (_ bool, err error) {
	src, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer fsatomic.CloseErr(&err, src)
	info, err := src.Stat()
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("%s: not a regular file: %w", path, bundle.ErrInvalid)
	}
	if w.Size > 0 && info.Size() != w.Size {
		// Hash it all the same: an error names both hashes.
		got, err := hashFile(ctx, path)
		if err != nil {
			return false, err
		}
		return false, fmt.Errorf("%s: want %d bytes, sha256:%s; got %d bytes, sha256:%s: %w", path, w.Size, w.SHA256, info.Size(), got, bundle.ErrMismatch)
	}
	if _, err := j.Cache.Put(ctx, w.SHA256, w.Size, src); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	j.Events.Emit(bundle.Event{Kind: bundle.EventDone, What: w.File, Digest: "sha256:" + w.SHA256, Offset: info.Size(), Size: info.Size(), Reason: "from " + filepath.Dir(path)})
	return true, nil
}

// own downloads from the file's own URL.
func (j *job) own(ctx context.Context, w Want) (bool, error) {
	if w.URL == "" {
		return false, nil
	}
	return j.fromURL(ctx, w, w.URL)
}

// index asks uv where the rest lies and downloads it.
func (j *job) index(ctx context.Context, missing []Want) ([]Want, error) {
	var rest []Want // on no index: interpreters
	groups := make(map[string][]Want)
	var order []string
	for _, w := range missing {
		if w.Target == nil || !strings.HasSuffix(w.File, ".whl") || j.UV == nil {
			rest = append(rest, w)
			continue
		}
		key := w.Target.String()
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], w)
	}
	if len(order) == 0 {
		return rest, nil
	}
	uv, err := j.UV(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for _, w := range missing {
			j.because(w, err)
		}
		return missing, nil
	}
	for _, key := range order {
		left, err := j.indexGroup(ctx, uv, groups[key])
		if err != nil {
			return nil, err
		}
		rest = append(rest, left...)
	}
	return rest, nil
}

// indexGroup fetches the files of one target.
func (j *job) indexGroup(ctx context.Context, uv lock.UV, wants []Want) ([]Want, error) {
	pins := make([]lock.Pin, 0, len(wants))
	for _, w := range wants {
		pins = append(pins, lock.Pin{Name: w.Name, Version: w.Version})
	}
	places, err := lock.Locate(ctx, uv, wants[0].Target, pins)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		for _, w := range wants {
			j.because(w, err)
		}
		return wants, nil
	}
	return j.each(ctx, wants, func(ctx context.Context, w Want) (bool, error) {
		place, ok := places[w.SHA256]
		if !ok {
			j.because(w, fmt.Errorf("the index has no file of this sha256: %w", bundle.ErrNotFound))
			return false, nil
		}
		if place.URL == "" {
			return j.copyFrom(ctx, w, place.Path)
		}
		return j.fromURL(ctx, w, place.URL)
	})
}

// missing makes one error of all that was not got and why, each reason once.
func (j *job) missing(missing []Want) error {
	var texts []string
	var errs []error
	for _, w := range missing {
		err := j.reasons[w.SHA256]
		switch {
		case err != nil:
		case j.Offline:
			err = fmt.Errorf("offline, and neither the cache nor a directory has them: %w", bundle.ErrUnreachable)
		default:
			err = fmt.Errorf("neither the cache nor a directory has them, and they have no address: %w", bundle.ErrNotFound)
		}
		if !slices.Contains(texts, err.Error()) {
			texts = append(texts, err.Error())
			errs = append(errs, err)
		}
	}
	return &MissingError{Missing: missing, Err: errors.Join(errs...)}
}
