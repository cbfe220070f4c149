// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/metalpack/metalpack/bundle"
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
	if known(err) {
		return fmt.Errorf("%s: %w", subject, err)
	}
	if errors.Is(err, errdef.ErrNotFound) {
		return fmt.Errorf("%s: %w", subject, bundle.ErrNotFound)
	}
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		return fmt.Errorf("%s: %w", subject, answerError(answer))
	}
	if isUnreachable(err) {
		if host := r.ref.Host(); !strings.HasPrefix(r.name, host) { // docker.io lies elsewhere
			subject += ": " + host
		}
		return fmt.Errorf("%s: %w: %w", subject, bundle.ErrUnreachable, rootCause(err))
	}
	return fmt.Errorf("%s: %w", subject, err)
}

// known reports whether an error has its sentinel already.
func known(err error) bool {
	for _, s := range []error{bundle.ErrMismatch, bundle.ErrInvalid, bundle.ErrNotFound, bundle.ErrUnauthorized, bundle.ErrUnreachable, bundle.ErrUnavailable} {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}

// answerError turns a registry's refusal into a sentinel where there is one.
// What the registry said is quoted: it is text from outside.
func answerError(a *errcode.ErrorResponse) error {
	said := http.StatusText(a.StatusCode)
	if len(a.Errors) > 0 {
		said = a.Errors.Error()
	}
	detail := fmt.Sprintf("%s answered %d: %.300q", a.URL.Host, a.StatusCode, said)
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

// isUnreachable reports whether no answer came, as opposed to one we refuse.
func isUnreachable(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, errRedirect):
		return false
	case errors.As(err, &dns), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, errStalled):
		return true
	case errors.As(err, &timeout) && timeout.Timeout():
		return true
	case errors.As(err, &op):
		return op.Op != "remote error" // a TLS alert is an answer
	}
	return false
}

// rootCause drops the layers that only repeat the URL and the address.
func rootCause(err error) error {
	var u *url.Error
	for errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		err = op.Err
	}
	return err
}
