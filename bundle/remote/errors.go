// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// fail says what went wrong with what of this repository, in the words of the
// sentinels. A done context wins over its consequences.
func (r *Repository) fail(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	subject := r.name + ": " + what
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s: %w", subject, cause)
	}
	if realm, ok := errors.AsType[*RealmError](err); ok {
		return fmt.Errorf("%s: %w", subject, realm)
	}
	if httpstream.Classified(err) {
		return fmt.Errorf("%s: %w", subject, err)
	}
	if overlong(err) {
		return fmt.Errorf("%s: a page of the list has more than %d bytes: %w", subject, maxList, bundle.ErrInvalid)
	}
	if errors.Is(err, errdef.ErrNotFound) {
		return fmt.Errorf("%s: %w", subject, bundle.ErrNotFound)
	}
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		err := answerError(answer, requestID(err))
		if answer.StatusCode == http.StatusTooManyRequests {
			err = &limited{err, r.ref.Registry}
		}
		return fmt.Errorf("%s: %w", subject, err)
	}
	if httpstream.IsUnreachable(err) {
		if host := r.ref.Host(); !strings.HasPrefix(r.name, host) { // docker.io lies elsewhere
			subject += ": " + host
		}
		return fmt.Errorf("%s: %w: %w", subject, bundle.ErrUnreachable, httpstream.RootCause(err))
	}
	return fmt.Errorf("%s: %w", subject, httpstream.WithoutAddress(err))
}

// identified is a refusal by which the registry's operators find the request.
type identified struct {
	error
	id string
}

// Unwrap returns the refusal.
func (i *identified) Unwrap() error { return i.error }

func requestID(err error) string {
	if i, ok := errors.AsType[*identified](err); ok {
		return i.id
	}
	return ""
}

// limited is the answer of a registry that was asked too often.
type limited struct {
	error
	registry string
}

// Hint says how to be allowed more.
func (l *limited) Hint() string {
	return "try again later: what came and is right is kept; with a login many registries allow more: docker login " + l.registry
}

// Unwrap returns the cause.
func (l *limited) Unwrap() error { return l.error }

// answerError turns a registry's refusal into a sentinel where there is one.
// What the registry said is quoted: it is text from outside.
func answerError(a *errcode.ErrorResponse, id string) error {
	said := http.StatusText(a.StatusCode)
	if len(a.Errors) > 0 {
		said = a.Errors.Error()
	}
	detail := fmt.Sprintf("%s answered %d: %.300q", a.URL.Host, a.StatusCode, said)
	if id != "" {
		detail += fmt.Sprintf(", request id %.100q", id)
	}
	switch a.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("%w (%s)", bundle.ErrNotFound, detail)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w (%s)", bundle.ErrUnauthorized, detail)
	}
	if a.StatusCode >= http.StatusInternalServerError || a.StatusCode == http.StatusTooManyRequests {
		return fmt.Errorf("%w (%s)", bundle.ErrUnavailable, detail)
	}
	for _, e := range a.Errors {
		if e.Code == errcode.ErrorCodeDigestInvalid || e.Code == errcode.ErrorCodeSizeInvalid {
			return fmt.Errorf("%w (%s)", bundle.ErrMismatch, detail)
		}
	}
	return errors.New(detail)
}
