// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package httpstream

import (
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"

	"github.com/metalpack/metalpack/bundle"
)

// Passing reports whether a connection failed for a reason that may pass.
func Passing(err error) bool { return !Classified(err) && IsUnreachable(err) }

// Cut reports whether an answer may well come if it is asked for again: it was
// cut or late. That nobody is there, or the name is unknown, the user should hear
// at once.
func Cut(err error) bool {
	var dns *net.DNSError
	nobody := errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &dns) && dns.IsNotFound
	return Passing(err) && !nobody
}

// Classified reports whether an error has its sentinel already.
func Classified(err error) bool {
	for _, s := range []error{bundle.ErrMismatch, bundle.ErrInvalid, bundle.ErrNotFound, bundle.ErrUnauthorized, bundle.ErrUnreachable, bundle.ErrUnavailable} {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}

// IsUnreachable reports whether no answer came, as opposed to one we refuse.
func IsUnreachable(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, ErrRedirect):
		return false
	case errors.As(err, &dns), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, ErrStalled):
		return true
	case errors.As(err, &timeout) && timeout.Timeout():
		return true
	case errors.As(err, &op):
		return op.Op != "remote error" // a TLS alert is an answer
	}
	return isDropped(err)
}

// isDropped reports whether the server ended the connection, or its part of one,
// in the ways that net/http has no names for.
func isDropped(err error) bool {
	if err == nil {
		return false
	}
	text := RootCause(err).Error()
	return text == "http: server closed idle connection" ||
		strings.HasPrefix(text, "http2: server sent GOAWAY") || strings.HasPrefix(text, "stream error: stream ID ")
}

// RootCause drops the layers that only repeat the URL and the address.
func RootCause(err error) error {
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
