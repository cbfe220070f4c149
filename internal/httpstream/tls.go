// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package httpstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
)

// ServerError is a failure that no sentinel describes, with the host it happened
// at and nothing more of the address, which may be signed: mostly one of TLS.
type ServerError struct {
	Host string
	Err  error
}

// Error names the host.
func (e *ServerError) Error() string { return e.Host + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ServerError) Unwrap() error { return e.Err }

// Hint says what to do if it is the certificate that is not believed, or if there
// is no TLS; else "".
func (e *ServerError) Hint() string {
	var expired x509.CertificateInvalidError
	var unproven *tls.CertificateVerificationError
	switch {
	case errors.Is(e.Err, http.ErrSchemeMismatch):
		return "the server talks without TLS; a registry that is meant to needs --plain-http"
	case errors.As(e.Err, &expired) && expired.Reason == x509.Expired:
		return "check the date of this machine; else the server needs a new certificate"
	case errors.As(e.Err, &unproven):
		return "--ca-file FILE trusts a certificate of your own network; a proxy or a portal that wants a login shows itself like this too"
	}
	return ""
}

// WithoutAddress puts the host in the place of an address that net/http has put
// on an error.
func WithoutAddress(err error) error {
	u, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	e := &ServerError{Host: "server", Err: RootCause(err)}
	if at, perr := url.Parse(u.URL); perr == nil && at.Host != "" {
		e.Host = at.Host
	}
	return e
}
