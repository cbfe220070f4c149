// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// progressKept is how many bytes more that a registry has kept earn a blob a fresh
// count of tries.
const progressKept = 8 << 20

// keepRate is how many bytes of a whole blob a slow registry hashes, or moves to
// where it keeps them, in a second.
const keepRate = 50 << 20

// errMoved says that a registry gave up bytes that it had kept, while the source
// was read up to them.
var errMoved = fmt.Errorf("the registry has lost what it had of the upload: %w", bundle.ErrUnavailable)

// sending is one blob on its way to the registry, over as many connections as it
// takes. An upload that breaks goes on behind the bytes that the registry says it
// has of it; where it says nothing, or does not take the rest, it is begun again.
type sending struct {
	r     *Repository
	what  string // in messages
	size  int64
	at    *answer // the registry's last word on the upload under way; nil = there is none
	kept  int64   // bytes that it has
	whole bool    // it did not take the rest of an upload
	begun bool    // it took one once, so it is there
}

// until makes uploads until one works, or its error says that no other would.
// Bytes that were kept count as progress. d is "" if it is not known.
func (s *sending) until(ctx context.Context, d digest.Digest, upload func(attempt int) (again bool, err error)) error {
	mark, e := int64(0), bundle.Event{What: s.what, Digest: d.String()}
	for attempt := 1; ; attempt++ {
		again, err := upload(attempt)
		if s.kept-mark >= progressKept {
			mark, attempt = s.kept, 1
		}
		if err == nil || !again || attempt >= s.tries(err) || ctx.Err() != nil {
			return err
		}
		e.Kind, e.Attempt, e.Reason = bundle.EventRetry, attempt+1, httpstream.RootCause(err).Error()
		s.r.opts.Events.Emit(e)
		if err := s.r.opts.Wait(ctx, httpstream.Backoff(attempt)); err != nil {
			return err
		}
	}
}

// tries is how many uploads may fail in a row. A registry that was there and does
// not answer is waited for.
func (s *sending) tries(err error) int {
	if s.begun && httpstream.IsUnreachable(err) {
		return max(pushTries, httpstream.Patience(s.r.opts.Retries))
	}
	return pushTries
}

// wait is how long a registry may take nothing. Once it has all it may hash for
// long before it answers.
func (s *sending) wait(left int64) time.Duration {
	if left > 0 {
		return 2 * s.r.opts.StallTimeout
	}
	return pushStallTimeout + time.Duration(s.size/keepRate)*time.Second
}

// start begins an upload, or finds out how far the one that broke has come.
func (s *sending) start(ctx context.Context) error {
	if s.at != nil && !s.whole {
		known, err := s.ask(ctx)
		if err != nil {
			return err
		}
		if known {
			s.r.opts.Events.Emit(bundle.Event{Kind: bundle.EventNote, What: s.what, Offset: s.kept, Reason: fmt.Sprintf(
				"%s: the registry has %s of %s; going on there", s.what, humanize.Bytes(uint64(s.kept)), humanize.Bytes(uint64(s.size)),
			)})
			return nil
		}
	}
	s.at, s.kept = nil, 0
	begun, err := s.r.send(ctx, http.MethodPost, s.r.base+"/blobs/uploads/", nil, http.StatusAccepted)
	if err == nil {
		s.at, s.begun = &begun, true
	}
	return err
}

// ask asks how much of the upload the registry has, if it says so; the answer
// brings fresh credentials, too. The error is that of a registry that does not
// answer: what it has stays until it does.
func (s *sending) ask(ctx context.Context) (known bool, err error) {
	to, err := s.at.next()
	if err != nil {
		return false, nil //nolint:nilerr // there is no such address: it says nothing
	}
	there, err := s.r.send(ctx, http.MethodGet, to.String(), nil, http.StatusNoContent, http.StatusAccepted, http.StatusOK)
	if httpstream.IsUnreachable(err) || ctx.Err() != nil {
		return false, err
	}
	if err != nil {
		return false, nil //nolint:nilerr // a refusal is an answer: it has nothing
	}
	kept, ok := received(there.header.Get("Range"), s.size)
	if ok {
		s.at, s.kept = &there, kept
	}
	return ok, nil
}

// received is the number of bytes in what a registry says of an upload: 0-0 stands
// for none, or for one.
func received(said string, size int64) (int64, bool) {
	last, ok := strings.CutPrefix(strings.TrimPrefix(said, "bytes="), "0-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || err != nil || n <= 0 || n >= size {
		return 0, false
	}
	return n + 1, true
}

// skip reads the source up to what the registry has. That may take so long that
// the registry gets further, or its credentials end: it is asked again.
func (s *sending) skip(ctx context.Context, body io.Reader) error {
	for skipped := int64(0); skipped < s.kept; {
		n, err := io.CopyN(io.Discard, body, s.kept-skipped)
		if err != nil {
			return err
		}
		skipped += n
		known, err := s.ask(ctx)
		if err != nil {
			return err
		}
		if !known || s.kept < skipped {
			return s.lost()
		}
	}
	return nil
}

func (s *sending) lost() error {
	s.at, s.whole, s.kept = nil, true, 0
	return errMoved
}

// send sends the rest of the blob. A body cannot be sent again after a challenge,
// so it goes with the credentials that the registry took last.
func (s *sending) send(ctx context.Context, method string, to *url.URL, body io.ReadCloser, want ...int) (answer, error) {
	return s.r.send(ctx, method, to.String(), func(req *http.Request) {
		left := s.size - s.kept
		if left > 0 {
			req.Body, req.ContentLength = body, left
		}
		if s.kept > 0 && left > 0 {
			req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", s.kept, s.size-1))
		}
		if a := s.at.request.Header.Get("Authorization"); a != "" {
			req.Header.Set("Authorization", a)
		}
	}, want...)
}

// put sends the rest of the blob, and which it is.
func (s *sending) put(ctx context.Context, d digest.Digest, body io.ReadCloser) error {
	to, err := s.at.next()
	if err != nil {
		return err
	}
	_, err = s.send(ctx, http.MethodPut, naming(to, d), body, http.StatusCreated)
	return err
}

// naming adds the digest to the address of an upload.
func naming(to *url.URL, d digest.Digest) *url.URL {
	q := to.Query()
	q.Set("digest", d.String())
	to.RawQuery = q.Encode()
	return to
}

// again reports whether another upload may do better: if this one was the rest of
// another and was refused for what it is, one of the whole may.
func (s *sending) again(err error) bool {
	if errors.Is(err, errMoved) {
		return true
	}
	if answer, refused := errors.AsType[*errcode.ErrorResponse](err); refused && s.kept > 0 && !later(answer.StatusCode) {
		_ = s.lost()
		return true
	}
	return passing(err)
}

// later reports whether a refusal says nothing of the upload itself, which then
// goes on: a token that has ended, a registry with too much to do, a gateway that
// does not reach it.
func later(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// passing reports whether an upload that failed may work next time.
func passing(err error) bool {
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		switch answer.StatusCode {
		case http.StatusNotFound, http.StatusTooManyRequests: // not found is the upload session
			return true
		case http.StatusUnauthorized: // a token that ended on the way; the next POST gets another
			return answer.Method != http.MethodPost
		}
		return answer.StatusCode >= http.StatusInternalServerError
	}
	return httpstream.IsUnreachable(err)
}

// answer is what a registry says to a step of an upload, with the request as it
// was sent in the end.
type answer struct {
	request *http.Request
	header  http.Header
}

// send makes a request whose answer has no content; any status but those
// wanted is an error.
func (r *Repository) send(ctx context.Context, method, address string, prepare func(*http.Request), want ...int) (answer, error) {
	ctx = auth.AppendRepositoryScope(ctx, r.ref, auth.ActionPull, auth.ActionPush)
	req, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	if method == http.MethodPatch || method == http.MethodPut {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	if prepare != nil {
		prepare(req)
	}
	resp, err := r.blobs.Client.Do(req) //nolint:bodyclose // Drain closes it
	if err != nil {
		return answer{}, err
	}
	defer httpstream.Drain(resp.Body)
	if at := resp.Request.URL.Host; at != req.URL.Host { // what follows would go there
		return answer{}, fmt.Errorf("upload sent from %s to %s: %w", req.URL.Host, at, httpstream.ErrRedirect)
	}
	if !slices.Contains(want, resp.StatusCode) {
		return answer{}, refusal(resp, resp.Body)
	}
	return answer{resp.Request, resp.Header}, nil
}

// next is where the upload goes on: on the same host, because credentials go
// there, and not on a less safe way. After the bytes it may go on where it was.
func (a answer) next() (*url.URL, error) {
	was, location := a.request.URL, a.header.Get("Location")
	if location == "" && a.request.Method == http.MethodPost {
		return nil, http.ErrNoLocation
	}
	to, err := was.Parse(location)
	if err != nil {
		return nil, err
	}
	if was.Port() == "443" && to.Port() == "" && to.Hostname() == was.Hostname() {
		to.Host = was.Host // credentials are kept by the name that the user wrote
	}
	if to.Host != was.Host || to.Scheme != was.Scheme && to.Scheme != "https" {
		return nil, fmt.Errorf("upload sent from %s to %s://%s: %w", was.Host, to.Scheme, to.Host, httpstream.ErrRedirect)
	}
	return to, nil
}
