// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// MaxRange is the cap on [Repo.ReadRange], in bytes: the longest safetensors
// header and the eight bytes before it fit.
const MaxRange = 128 << 20

// Repo is one commit of one model on a hub. It is safe for concurrent use.
type Repo struct {
	s      *session
	name   string
	commit string
	access Access

	mu     sync.Mutex
	files  []File // sorted
	listed bool
}

// Access is who may read a model, for whoever is about to publish a copy.
type Access struct {
	Private bool
	Gated   bool // after its terms were accepted
}

// modelInfo is what we need of the hub's description of a model.
type modelInfo struct {
	ID       string          `json:"id"`
	SHA      string          `json:"sha"`
	Private  bool            `json:"private"`
	Disabled bool            `json:"disabled"`
	Gated    json.RawMessage `json:"gated"` // false, "auto" or "manual"
}

// Open pins the revision that ref names to a commit; nothing but that commit is
// asked for afterwards. A model that was renamed is opened under its new name.
// Errors: [bundle.ErrInvalid] for a Client or Reference that makes no sense;
// [*Error] around [bundle.ErrNotFound], [bundle.ErrUnauthorized],
// [bundle.ErrUnavailable], [bundle.ErrUnreachable], [bundle.ErrMismatch] if ref
// names a commit and the hub another, [bundle.ErrInvalid] for an answer that is
// not a hub's.
func (c *Client) Open(ctx context.Context, ref Reference) (*Repo, error) {
	if ref.Revision == "" {
		ref.Revision = "main"
	}
	if err := checkRepo(ref.Repo); err != nil {
		return nil, err
	}
	if err := checkRevision(ref.Revision); err != nil {
		return nil, err
	}
	s, err := c.session()
	if err != nil {
		return nil, err
	}
	about := subject{ref.Repo, ref.Revision, ""}
	data, _, err := s.document(ctx, about, s.base+"/api/models/"+ref.Repo+"/revision/"+url.PathEscape(ref.Revision))
	if err != nil {
		return nil, err
	}
	var info modelInfo
	if err := bundle.DecodeStrict(data, &info); err != nil {
		return nil, s.fail(ctx, about, fmt.Errorf("the hub's answer: %w", err))
	}
	if info.Disabled {
		return nil, s.fail(ctx, about, disabled())
	}
	if info.ID == "" {
		info.ID = ref.Repo
	}
	if err := info.check(ref); err != nil {
		return nil, s.fail(ctx, about, err)
	}
	if !strings.EqualFold(info.ID, ref.Repo) {
		s.events.Emit(bundle.Event{Kind: bundle.EventNote, What: about.String(), Reason: "the model is now called " + info.ID})
	}
	return &Repo{s: s, name: info.ID, commit: info.SHA, access: Access{Private: info.Private, Gated: isGated(info.Gated)}}, nil
}

// check reports whether the hub's answer is one to what was asked.
func (m *modelInfo) check(ref Reference) error {
	if err := checkRepo(m.ID); err != nil {
		return fmt.Errorf("the hub's answer: %w", err)
	}
	if !isCommit.MatchString(m.SHA) {
		return fmt.Errorf("the hub's answer: commit %.80q: %w", m.SHA, bundle.ErrInvalid)
	}
	if isCommit.MatchString(ref.Revision) && ref.Revision != m.SHA {
		return fmt.Errorf("the hub answers with commit %s: %w", m.SHA, bundle.ErrMismatch)
	}
	return nil
}

func isGated(raw json.RawMessage) bool {
	switch string(raw) {
	case "", "false", "null":
		return false
	}
	return true
}

// Name is org/name, as the hub spells it.
func (r *Repo) Name() string { return r.name }

// Commit is the commit, 40 hex digits.
func (r *Repo) Commit() string { return r.commit }

// URL is the model's page.
func (r *Repo) URL() string { return r.s.base + "/" + r.name }

// Access tells who may read the model.
func (r *Repo) Access() Access { return r.access }

// Open streams a file from byte offset on. The stream mends itself and ends
// with an error unless as many bytes came as the commit's list says; they are
// not hashed: verify them against the file's SHA256 ([bundle.NewVerifier]).
// Errors, at once or later: [*Error] around [bundle.ErrNotFound],
// [bundle.ErrMismatch] if the hub now has another file there,
// [bundle.ErrUnauthorized], [bundle.ErrUnavailable], [bundle.ErrUnreachable],
// [bundle.ErrInvalid].
func (r *Repo) Open(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	f, err := r.file(ctx, path)
	if err != nil {
		return nil, err
	}
	return r.open(ctx, f, offset, f.Size)
}

// ReadRange reads n bytes from offset on, fewer where the file ends, and asks
// for no more than those. They are verified by nothing. Errors as for Open, and
// [bundle.ErrInvalid] if n is more than [MaxRange].
func (r *Repo) ReadRange(ctx context.Context, path string, offset, n int64) ([]byte, error) {
	f, err := r.file(ctx, path)
	if err != nil {
		return nil, err
	}
	if n < 0 || n > MaxRange {
		return nil, r.fail(ctx, f, fmt.Errorf("%d bytes at once: %w", n, bundle.ErrInvalid))
	}
	rc, err := r.open(ctx, f, offset, min(f.Size, offset+n))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }() // it was only read
	return io.ReadAll(rc)
}

// ReadSmall reads a file of at most limit bytes (0 = [MaxSmall]) whole and
// verifies it: by sha256 if that is known, else by its git id. Errors as for
// Open.
func (r *Repo) ReadSmall(ctx context.Context, path string, limit int64) ([]byte, error) {
	f, err := r.file(ctx, path)
	if err != nil {
		return nil, err
	}
	data, err := readSmall(f, limit, func() (io.ReadCloser, error) { return r.open(ctx, f, 0, f.Size) })
	return data, r.fail(ctx, f, err)
}

// file looks a path up in the list.
func (r *Repo) file(ctx context.Context, path string) (File, error) {
	files, err := r.Files(ctx)
	if err != nil {
		return File{}, err
	}
	f, ok := find(files, path)
	if !ok {
		return File{}, &Error{Repo: r.name, Revision: r.commit, File: path, Err: &said{"no such file in this revision", bundle.ErrNotFound, ""}}
	}
	return f, nil
}

func (r *Repo) fail(ctx context.Context, f File, err error) error {
	if e, ok := err.(*Error); ok { //nolint:errorlint // only one that is complete already
		return e
	}
	return r.s.fail(ctx, subject{r.name, r.commit, f.Path}, err)
}

// open streams the bytes from offset up to end.
func (r *Repo) open(ctx context.Context, f File, offset, end int64) (io.ReadCloser, error) {
	if offset < 0 || offset > end {
		return nil, r.fail(ctx, f, fmt.Errorf("offset %d of %d bytes: %w", offset, f.Size, bundle.ErrInvalid))
	}
	if offset == end && (offset > 0 || end < f.Size) {
		return io.NopCloser(strings.NewReader("")), nil // a range of no bytes cannot be asked for
	}
	return httpstream.Source{
		Size: end, Tries: httpstream.Patience(r.s.retries),
		Connect: func(offset int64) (io.ReadCloser, error) { return r.connect(ctx, f, offset, end) },
		Pause: func(attempt int, offset int64, reason error) error {
			r.s.events.Emit(bundle.Event{
				Kind: bundle.EventRetry, What: f.Path, Digest: digestOf(f), Offset: offset, Size: f.Size,
				Attempt: attempt + 1, Reason: httpstream.RootCause(reason).Error(),
			})
			return r.s.wait(ctx, httpstream.Backoff(attempt))
		},
		Passing: func(err error) bool { return httpstream.Passing(err) || isExpired(err) },
		Done:    func() bool { return ctx.Err() != nil },
		Fail:    func(err error) error { return r.fail(ctx, f, err) },
	}.Open(offset)
}

func digestOf(f File) string {
	if f.SHA256 == "" {
		return ""
	}
	return "sha256:" + f.SHA256
}

// connect asks the hub where the bytes lie and returns a body that begins at
// offset. An address that expired on the way, or a server without ranges, has
// one more chance.
func (r *Repo) connect(ctx context.Context, f File, offset, end int64) (io.ReadCloser, error) {
	ranged := offset > 0 || end < f.Size
	body, err := r.resolve(ctx, f, offset, end, ranged)
	if isExpired(err) {
		body, err = r.resolve(ctx, f, offset, end, ranged)
	}
	if refusal := asRefusal(err); refusal != nil && refusal.status == http.StatusRequestedRangeNotSatisfiable && ranged {
		body, err = r.resolve(ctx, f, offset, end, false)
	}
	return body, err
}
