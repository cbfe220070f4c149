// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// errExpired: a signed address no longer opens; the hub signs another.
var errExpired = errors.New("the signed address has expired")

// Error says what went wrong with which model of a hub. It wraps
// [bundle.ErrNotFound], [bundle.ErrUnauthorized], [bundle.ErrUnavailable],
// [bundle.ErrUnreachable], [bundle.ErrMismatch] or [bundle.ErrInvalid], or a
// failure of TLS, which has no sentinel. It never holds a token or the query of
// an address.
type Error struct {
	Repo     string // org/name
	Revision string // as asked for, or the commit
	File     string // "" = the model as a whole
	Err      error
	hint     string
}

// Error names model, revision and file, then the cause.
func (e *Error) Error() string {
	return subject{e.Repo, e.Revision, e.File}.String() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do; "" if the sentinel says it all.
func (e *Error) Hint() string {
	if s, ok := errors.AsType[*said](e.Err); ok {
		return s.hint
	}
	if s, ok := errors.AsType[*httpstream.ServerError](e.Err); ok {
		return s.Hint()
	}
	return e.hint
}

// subject is what an error is about.
type subject struct{ repo, revision, file string }

func (s subject) String() string {
	if isCommit.MatchString(s.revision) {
		s.revision = s.revision[:12]
	}
	text := Reference{Repo: s.repo, Revision: s.revision}.String()
	if s.file != "" {
		text += ": " + s.file
	}
	return text
}

// said is an error in words of our own: those of the sentinel, which speak of
// registries, would mislead.
type said struct {
	text  string
	class error
	hint  string
}

func (s *said) Error() string { return s.text }
func (s *said) Unwrap() error { return s.class }

// hopError is a failure on the way to one of the hosts that a request visits.
// It does not show the address, which may be signed.
type hopError struct {
	host string
	err  error
}

func (e *hopError) Error() string { return e.host + ": " + httpstream.RootCause(e.err).Error() }
func (e *hopError) Unwrap() error { return e.err }

// fail puts the subject on an error. A done context wins over its
// consequences.
func (s *session) fail(ctx context.Context, about subject, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s: %w", about, cause)
	}
	e := &Error{Repo: about.repo, Revision: about.revision, File: about.file, Err: err}
	if r, ok := errors.AsType[*refusal](err); ok {
		if s.token != "" { // whoever answers may repeat what it was sent
			r.message, r.id = strings.ReplaceAll(r.message, s.token, "…"), strings.ReplaceAll(r.id, s.token, "…")
		}
		e.Err = r.explain(about, s)
		return e
	}
	if errors.Is(err, errExpired) {
		e.Err = &said{"the storage behind the hub refuses the address that the hub has just signed", bundle.ErrUnavailable, "check the clock of this machine, or try again later"}
		return e
	}
	if httpstream.Classified(err) {
		return e
	}
	if httpstream.IsUnreachable(err) {
		host := s.endpoint.Host
		if hop, ok := errors.AsType[*hopError](err); ok {
			host, err = hop.host, hop.err
		}
		e.Err = fmt.Errorf("%s: %w: %w", host, bundle.ErrUnreachable, httpstream.RootCause(err))
		e.hint = "check the network, HTTPS_PROXY and HF_ENDPOINT; what lies in the cache of the hub's programs can be used by its path"
		return e
	}
	e.Err = httpstream.WithoutAddress(err) // which may be signed
	return e
}

// refusal is an answer of the hub or its storage that is no content.
type refusal struct {
	host    string
	status  int
	code    string // X-Error-Code
	message string // X-Error-Message
	id      string // of the request, if the hub failed
}

func refused(resp *http.Response) *refusal {
	return &refusal{
		host: resp.Request.URL.Host, status: resp.StatusCode,
		code: resp.Header.Get("X-Error-Code"), message: resp.Header.Get("X-Error-Message"), id: httpstream.RequestID(resp),
	}
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("%s answered %d", r.host, r.status)
	if r.message != "" {
		text += fmt.Sprintf(": %.300q", r.message)
	}
	if r.id != "" {
		text += fmt.Sprintf(", request id %.100q", r.id)
	}
	return text
}

// unknownToken is how the hub says that it does not know the token itself.
const unknownToken = "Invalid credentials in Authorization header" //nolint:gosec // G101: the hub's words about a token, no token

// explain turns the refusal into a sentinel and a hint.
func (r *refusal) explain(about subject, s *session) error {
	page := s.base + "/" + about.repo
	say := func(class error, text, hint string) error { return &said{text + " (" + r.Error() + ")", class, hint} }
	switch {
	case r.code == "GatedRepo" && s.token == "":
		return say(bundle.ErrUnauthorized, "the model is gated", "accept its licence at "+page+" and set HF_TOKEN to a token of that account")
	case r.code == "GatedRepo":
		return say(bundle.ErrUnauthorized, "the model is gated, and the token's account has no access", "accept its licence at "+page+" with the account of HF_TOKEN")
	case r.code == "RevisionNotFound":
		return say(bundle.ErrNotFound, "no such revision", "see "+page+"/tree/main for its branches and tags")
	case r.code == "EntryNotFound", r.code == "" && r.status == http.StatusNotFound && about.file != "":
		return say(bundle.ErrNotFound, "no such file in this revision", "")
	case r.code == "DisabledRepo":
		return disabled()
	case r.message == unknownToken, r.status == http.StatusUnauthorized && r.code == "" && s.token != "":
		return say(bundle.ErrUnauthorized, "the hub does not accept the token", "set HF_TOKEN to a valid token, or unset it for a public model")
	case r.code != "RepoNotFound" && r.status != http.StatusUnauthorized && r.status != http.StatusNotFound:
		return r.other(say, page)
	case s.token == "": // the hub does not tell a missing model from a private one
		return say(bundle.ErrNotFound, "no such model, or it is private", "check the name"+s.elsewhere()+"; for a private model set HF_TOKEN")
	}
	return say(bundle.ErrNotFound, "no such model, or it is hidden from the token's account", "check the name and the account of HF_TOKEN")
}

// elsewhere reminds of another hub than the public one: a mirror does not have
// every model.
func (s *session) elsewhere() string {
	if s.base == DefaultEndpoint {
		return ""
	}
	return " and HF_ENDPOINT, which is " + s.base
}

// other explains a refusal that is not about one model.
func (r *refusal) other(say func(class error, text, hint string) error, page string) error {
	switch {
	case r.status == http.StatusForbidden:
		return say(bundle.ErrUnauthorized, "no access", "set HF_TOKEN to a token whose account may read "+page)
	case r.status == http.StatusTooManyRequests:
		return say(bundle.ErrUnavailable, "too many requests", "try again in some minutes; with HF_TOKEN set the hub allows more")
	case r.status >= http.StatusInternalServerError:
		return say(bundle.ErrUnavailable, "the hub cannot serve now", "try again later")
	}
	return say(bundle.ErrInvalid, "no answer of a hub", "is HF_ENDPOINT the address of a hub?")
}

// disabled is the answer for a model that the hub has taken down.
func disabled() error {
	return &said{"the hub has disabled this model", bundle.ErrUnavailable, "its page says why; another copy of the model may be available"}
}
