// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// MaxDocument is the cap on one answer of the hub's API, in bytes.
const MaxDocument = 16 << 20

// journey is one GET and what it may meet on its way.
type journey struct {
	via    httpstream.Doer
	header http.Header
	abroad bool                            // other origins may be visited
	meet   func(resp *http.Response) error // sees each answer of the hub itself below 400; nil = none
}

// follow sends the GET and follows redirects; the answer it returns is none.
func (s *session) follow(ctx context.Context, address string, j journey) (*httpstream.Body, error) {
	at, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("an address does not parse: %w", bundle.ErrInvalid)
	}
	for hop := 1; ; hop++ {
		body, err := httpstream.Get(ctx, j.via, at.String(), j.header, s.stall)
		if err != nil {
			return nil, &hopError{at.Host, err}
		}
		if j.meet != nil && s.isHome(at) && body.Response.StatusCode < http.StatusBadRequest {
			if err := j.meet(body.Response); err != nil {
				body.Drop()
				return nil, err
			}
		}
		if !isRedirect(body.Response) {
			return body, nil
		}
		next, err := s.next(at, body.Response.Header.Get("Location"), hop, j.abroad)
		body.Drop()
		if err != nil {
			return nil, err
		}
		at = next
	}
}

func isRedirect(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// next is where a redirect leads. Its errors name hosts and nothing more of an
// address.
func (s *session) next(at *url.URL, location string, hop int, abroad bool) (*url.URL, error) {
	to, err := at.Parse(location)
	if err != nil || location == "" || to.Host == "" || to.User != nil {
		return nil, fmt.Errorf("%s redirects to no usable address: %w", at.Host, bundle.ErrInvalid)
	}
	if err := httpstream.CheckHop(at, to, hop); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", at.Host, err, bundle.ErrInvalid)
	}
	if !abroad && !s.isHome(to) {
		return nil, fmt.Errorf("%s sends us to %s, where its API cannot be: %w", at.Host, to.Host, bundle.ErrInvalid)
	}
	return to, nil
}

// document reads one answer of the API. Answers that are cut are asked for
// again. Errors are *Error.
func (s *session) document(ctx context.Context, about subject, address string) ([]byte, http.Header, error) {
	for attempt := 1; ; attempt++ {
		data, header, err := s.documentOnce(ctx, address)
		if err == nil {
			return data, header, nil
		}
		if attempt > s.retries || !httpstream.Cut(err) || ctx.Err() != nil {
			return nil, nil, s.fail(ctx, about, err)
		}
		s.events.Emit(bundle.Event{Kind: bundle.EventRetry, What: about.String(), Attempt: attempt + 1, Reason: httpstream.RootCause(err).Error()})
		if err := s.wait(ctx, httpstream.Backoff(attempt)); err != nil {
			return nil, nil, s.fail(ctx, about, err)
		}
	}
}

func (s *session) documentOnce(ctx context.Context, address string) ([]byte, http.Header, error) {
	body, err := s.follow(ctx, address, journey{via: s.api, header: http.Header{"Accept": {"application/json"}}})
	if err != nil {
		return nil, nil, err
	}
	resp := body.Response
	if resp.StatusCode != http.StatusOK {
		defer body.Drop()
		return nil, nil, refused(resp)
	}
	if t := resp.Header.Get("Content-Type"); strings.HasPrefix(t, "text/html") {
		body.Drop()
		return nil, nil, fmt.Errorf("%s answers with a web page: no hub, or a portal where this network wants a login: %w", resp.Request.URL.Host, bundle.ErrInvalid)
	}
	data, err := io.ReadAll(io.LimitReader(body, MaxDocument+1))
	if err == nil && len(data) > MaxDocument {
		err = fmt.Errorf("the hub's answer is longer than %d bytes: %w", MaxDocument, bundle.ErrInvalid)
	}
	if err == nil && resp.ContentLength >= 0 && int64(len(data)) != resp.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	_ = body.Close() // it was only read
	if err != nil && !httpstream.Classified(err) {
		err = &hopError{resp.Request.URL.Host, err}
	}
	return data, resp.Header, err
}
