// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/metalpack/metalpack/bundle"
)

// errRedirect marks a redirect that we refuse.
var errRedirect = errors.New("redirect refused")

// checkRedirect bounds redirects; the oras client has already dropped
// Authorization if the origin changes.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects: %w", maxRedirects, errRedirect)
	}
	from, to := via[len(via)-1].URL, req.URL
	if to.Scheme != "https" && (to.Scheme != "http" || from.Scheme == "https") {
		return fmt.Errorf("from %s to %s://%s: %w", from.Scheme, to.Scheme, to.Host, errRedirect)
	}
	return nil
}

// transports returns what carries API calls and what carries blobs.
func transports(o Options) (api, blobs http.RoundTripper, err error) {
	if o.Client != nil {
		rt := o.Client.Transport
		if rt == nil {
			rt = http.DefaultTransport
		}
		return rt, rt, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		if config.RootCAs, err = certificates(o.CAFile); err != nil {
			return nil, nil, err
		}
	}
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
	a, b := base(), base()
	a.ForceAttemptHTTP2 = true
	a.ResponseHeaderTimeout = o.StallTimeout
	b.Protocols = new(http.Protocols)
	b.Protocols.SetHTTP1(true)
	return a, b, nil
}

// certificates is the system's pool with those of file.
func certificates(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // no system pool: those of file alone
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no PEM certificate in it: %w", file, bundle.ErrInvalid)
	}
	return pool, nil
}

// credentialStore is o.Credentials or the docker configuration.
func credentialStore(o Options) (credentials.Store, error) {
	if o.Credentials != nil {
		return o.Credentials, nil
	}
	if _, err := os.UserHomeDir(); err != nil && os.Getenv("DOCKER_CONFIG") == "" {
		return credentials.NewMemoryStore(), nil // no home, no configuration: anonymous
	}
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("docker configuration: %w", err)
	}
	return store, nil
}

// retryTransport repeats requests whose body can be sent again.
type retryTransport struct {
	base    http.RoundTripper
	retries int
	wait    waitFunc
	events  bundle.EventFunc
}

// RoundTrip implements http.RoundTripper.
func (t *retryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		resp, err := t.base.RoundTrip(req)
		reason := retryReason(req, resp, err)
		if reason == "" || attempt > t.retries {
			return resp, err
		}
		next, ok := rewind(req)
		if !ok {
			return resp, err
		}
		pause := backoff(attempt)
		if resp != nil {
			if after, ok := RetryAfter(resp.Header); ok {
				pause = min(after, maxRetryAfter)
				reason += ", asked to wait " + after.String()
			}
			drain(resp.Body)
		}
		t.events.Emit(bundle.Event{Kind: bundle.EventRetry, What: req.URL.Host, Attempt: attempt + 1, Reason: reason})
		if err := waitUnwatched(req.Context(), pause, t.wait); err != nil {
			return nil, err
		}
		req = next
	}
}

// rewind returns a request that can be sent again, or false.
func rewind(req *http.Request) (*http.Request, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	req = req.Clone(req.Context())
	req.Body = body
	return req, true
}

// retryReason says why a request is worth another try; "" if it is not. A
// refused connection or an unknown name is not: waiting seldom helps, and the
// user who mistyped a host should know at once.
func retryReason(req *http.Request, resp *http.Response, err error) string {
	if err == nil {
		switch resp.StatusCode {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return resp.Status
		}
		return ""
	}
	var timeout net.Error
	switch {
	case req.Context().Err() != nil:
		return ""
	case errors.As(err, &timeout) && timeout.Timeout(),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return err.Error()
	}
	return ""
}

// RetryAfter reads the header Retry-After, seconds or a date, which is measured
// against the server's own clock; false if there is none.
func RetryAfter(h http.Header) (time.Duration, bool) {
	v := h.Get("Retry-After")
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(s) * time.Second, true
	}
	then, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(then.Sub(now), 0), true
}
