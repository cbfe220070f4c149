// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package httpstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/metalpack/metalpack/bundle"
)

// MaxRedirects is how many redirects are followed.
const MaxRedirects = 5

// ErrRedirect marks a redirect that we refuse.
var ErrRedirect = errors.New("redirect refused")

// CheckHop judges redirect number n, counted from 1: not too many, and none
// from https to anything else. The error wraps [ErrRedirect] and holds no more
// of the address than the host.
func CheckHop(from, to *url.URL, n int) error {
	if n > MaxRedirects {
		return fmt.Errorf("more than %d redirects: %w", MaxRedirects, ErrRedirect)
	}
	if to.Scheme != "https" && (to.Scheme != "http" || from.Scheme == "https") {
		return fmt.Errorf("from %s to %s://%s: %w", from.Scheme, to.Scheme, to.Host, ErrRedirect)
	}
	return nil
}

// Trust is a configuration that trusts the system's certificates and those of
// a PEM file; "" = the system's alone. Errors: that of reading the file, and
// [bundle.ErrInvalid] if there is no certificate in it.
func Trust(file string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return config, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if config.RootCAs, err = x509.SystemCertPool(); err != nil {
		config.RootCAs = x509.NewCertPool() // no system pool: those of file alone
	}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no PEM certificate in it: %w", file, bundle.ErrInvalid)
	}
	return config, nil
}

// Transports returns what carries API calls, over HTTP/2 where the server has
// it, and what carries bytes: HTTP/1.1, because HTTP/2 would put parallel
// streams on one connection. config is that of [Trust].
func Transports(config *tls.Config, stall time.Duration) (api, bytes *http.Transport) {
	base := func() *http.Transport {
		return &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:        config.Clone(),
			TLSHandshakeTimeout:    15 * time.Second,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConnsPerHost:    16,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		}
	}
	api, bytes = base(), base()
	api.ForceAttemptHTTP2 = true
	api.ResponseHeaderTimeout = stall
	bytes.Protocols = new(http.Protocols)
	bytes.Protocols.SetHTTP1(true)
	dial := bytes.DialContext
	bytes.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &bulkConn{c}, nil
	}
	return api, bytes
}

// bulkSize is how many bytes of an upload are read and sent at once: with the
// 32 KiB that they are by default, system calls cost an eighth of the time.
const bulkSize = 128 << 10

// filePiece is how many bytes of a file the kernel is told to send at once.
// Outside of Linux the file's offset moves when a call ends, and by the offset the
// sender knows whether anything moves.
const filePiece = 8 << 20

// bulkConn is a connection that takes the body of an upload in large pieces.
type bulkConn struct{ net.Conn }

// ReadFrom implements io.ReaderFrom. A file the kernel can send by itself.
func (c *bulkConn) ReadFrom(r io.Reader) (int64, error) {
	if part, ok := r.(*io.LimitedReader); ok {
		if _, ok := part.R.(*os.File); ok {
			return c.sendFile(part)
		}
	}
	return io.CopyBuffer(struct{ io.Writer }{c.Conn}, struct{ io.Reader }{r}, make([]byte, bulkSize))
}

func (c *bulkConn) sendFile(file *io.LimitedReader) (n int64, err error) {
	for file.N > 0 && err == nil {
		var sent int64
		sent, err = io.CopyN(c.Conn, file.R, min(file.N, filePiece))
		file.N, n = file.N-sent, n+sent
	}
	if errors.Is(err, io.EOF) { // a file that became shorter; whoever counts will see
		err = nil
	}
	return n, err
}
