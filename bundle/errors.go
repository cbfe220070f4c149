// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import "errors"

// Sentinels say what happened; the error that wraps them says to what. The
// exit code of each is in internal/edge.
var (
	// ErrNotFound: no such tag, manifest, blob, file or model.
	ErrNotFound = errors.New("not found")
	// ErrMismatch: the bytes do not have the declared size or sha256.
	ErrMismatch = errors.New("content does not match its digest")
	// ErrUnauthorized: the registry wants other or any credentials.
	ErrUnauthorized = errors.New("not authorized")
	// ErrUnreachable: no answer: connection refused, name unknown, timeout.
	ErrUnreachable = errors.New("unreachable")
	// ErrUnavailable: the registry answers that it cannot serve now (5xx, 429).
	ErrUnavailable = errors.New("the registry cannot serve now")
	// ErrUnsupportedHost: the artifact has nothing for this platform.
	ErrUnsupportedHost = errors.New("this host is not supported")
	// ErrInvalid: the bytes are what was declared but break a rule of the
	// format, or a reference does not parse.
	ErrInvalid = errors.New("invalid")
)
