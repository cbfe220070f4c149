// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// DefaultEndpoint is the public hub.
const DefaultEndpoint = "https://huggingface.co"

// Client says how to reach a hub. The zero value is the public one, without a
// token.
type Client struct {
	Endpoint     string           // "" = [DefaultEndpoint]; http on this machine alone
	Token        string           // sent to the endpoint's origin only; "" = anonymous
	UserAgent    string           // "" = "metalpack"
	CAFile       string           // certificates to trust besides the system's, PEM; "" = the system's alone
	Events       bundle.EventFunc // retries, and what of a model is left out; nil = none
	HTTP         *http.Client     // its Transport carries all requests; nil = our own
	Retries      int              // after the first try; 0 = [httpstream.DefaultRetries], -1 = none
	StallTimeout time.Duration    // silence after which a connection is given up; 0 = [httpstream.DefaultStallTimeout]

	// Wait passes the time between two tries; nil = a timer.
	Wait func(ctx context.Context, d time.Duration) error
}

// session is a Client with its defaults filled in.
type session struct {
	endpoint *url.URL
	base     string // of all addresses, without a slash at its end
	token    string
	events   bundle.EventFunc
	retries  int
	stall    time.Duration
	wait     httpstream.WaitFunc
	api      *http.Client // documents
	content  *http.Client // files, over HTTP/1.1
}

// session checks the endpoint, the token and the certificates. Errors:
// [bundle.ErrInvalid], or that of reading the certificates.
func (c *Client) session() (*session, error) {
	endpoint, err := parseEndpoint(c.Endpoint)
	if err != nil {
		return nil, err
	}
	if err := checkToken(c.Token, "token"); err != nil {
		return nil, err
	}
	s := &session{
		endpoint: endpoint, base: strings.TrimRight(endpoint.String(), "/"), token: c.Token, events: c.Events,
		retries: c.Retries, stall: c.StallTimeout, wait: c.Wait,
	}
	switch {
	case s.retries == 0:
		s.retries = httpstream.DefaultRetries
	case s.retries < 0:
		s.retries = 0
	}
	if s.stall <= 0 {
		s.stall = httpstream.DefaultStallTimeout
	}
	if s.wait == nil {
		s.wait = httpstream.Wait
	}
	s.api, s.content, err = s.clients(c)
	return s, err
}

// parseEndpoint reads the address of a hub.
func parseEndpoint(s string) (*url.URL, error) {
	if s == "" {
		s = DefaultEndpoint
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return nil, fmt.Errorf("HF_ENDPOINT: no address of a hub: %w", bundle.ErrInvalid)
	case u.User != nil:
		return nil, fmt.Errorf("HF_ENDPOINT: an address must not hold credentials: %w", bundle.ErrInvalid)
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return nil, fmt.Errorf("HF_ENDPOINT: %s://%s: only https, or http on this machine: %w", u.Scheme, u.Host, bundle.ErrInvalid)
	}
	return u, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.IsLoopback()
}

// clients returns what carries documents and what carries files. Redirects are
// ours to follow: each answer is looked at.
func (s *session) clients(c *Client) (api, content *http.Client, err error) {
	var a, b http.RoundTripper
	if c.HTTP != nil {
		a = c.HTTP.Transport
		if a == nil {
			a = http.DefaultTransport
		}
		b = a
	} else {
		config, err := httpstream.Trust(c.CAFile)
		if err != nil {
			return nil, nil, err
		}
		a, b = httpstream.Transports(config, s.stall)
	}
	agent := c.UserAgent
	if agent == "" {
		agent = "metalpack"
	}
	wrap := func(base http.RoundTripper) *http.Client {
		return &http.Client{
			Transport: &credentialed{session: s, agent: agent, base: &httpstream.Retry{
				Base: base, Retries: s.retries, Wait: s.wait, Events: s.events,
			}},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return wrap(a), wrap(b), nil
}

// credentialed puts the token on requests to the hub's own origin. No request
// holds it before it gets here, so no redirect can carry it elsewhere.
type credentialed struct {
	session *session
	agent   string
	base    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *credentialed) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", t.agent)
	req.Header.Del("Authorization")
	if t.session.token != "" && t.session.isHome(req.URL) {
		req.Header.Set("Authorization", "Bearer "+t.session.token)
	}
	return t.base.RoundTrip(req)
}

// isHome reports whether an address has the hub's own origin.
func (s *session) isHome(u *url.URL) bool { return origin(u) == origin(s.endpoint) }

func origin(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return strings.ToLower(u.Scheme + "://" + net.JoinHostPort(u.Hostname(), port))
}

// escape makes a slash-separated path part of an address.
func escape(p string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}
