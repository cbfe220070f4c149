// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package remote owns the way to a registry: one repository of it as
// [bundle.Source] and [bundle.Target].
//
// # How it works
//
// oras-go does authentication, tags and referrers, and pushes manifests; all else
// are our own requests through its authenticating client. A blob goes up in one
// PUT, or, if its digest is not known ([Repository.Ingest]), in one PATCH; an
// upload that breaks goes on behind what the registry says it has.
// Requests without a body that can be lost are repeated with jittered
// back-off, Retry-After honoured; an answer that stops in its middle is given up
// and asked for again. A blob is one stream that mends itself: cut
// or stalled, it asks for the rest by Range, and where there are no ranges reads
// again from the beginning. Blobs travel over HTTP/1.1,
// because HTTP/2 would put parallel streams on one connection; API calls
// travel as they like.
//
// # Promises
//
// Credentials come from the docker configuration, are looked up by exact host
// and never cross an origin; a credential helper that does not work is told, and
// no login; a token server on a private or local address is
// asked only if the registry lies there too ([RealmError]). At most five redirects are followed, none from
// https to http. Manifests are verified before they are returned; blobs are
// not, because their readers verify them ([bundle.NewVerifier]); what is
// pushed is verified before its last byte leaves, but for a file that was hashed
// before and has not changed ([bundle.KnownFile]), which the registry verifies
// against the digest that it is told. Errors name the host and
// wrap the sentinels of package bundle; a cancelled context stays its own
// error.
package remote

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"oras.land/oras-go/v2/registry"
	orasremote "oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// Defaults and caps.
const (
	DefaultRetries      = httpstream.DefaultRetries
	DefaultStallTimeout = httpstream.DefaultStallTimeout

	pushTries        = 3
	pushStallTimeout = 10 * time.Minute // for the answer to an upload, and for its source
	maxReferrerPages = 16
	maxReferrers     = 4096
	maxTagPages      = 64
	maxTags          = 1000
	maxList          = 1 << 20 // bytes of a page of either; one of {} costs its decoder a hundred times as much
)

// Options says how to reach a registry. The zero value is useful.
type Options struct {
	PlainHTTP    bool             // http where https is the default; loopback hosts are http anyway unless CAFile is set
	CAFile       string           // PEM file of certificates trusted besides the system's
	UserAgent    string           // "" = "metalpack"
	Events       bundle.EventFunc // retries; nil = none
	Client       *http.Client     // its Transport carries all requests; nil = our own
	Retries      int              // after the first try; 0 = [DefaultRetries], -1 = none
	AllowRealms  []string         // hosts of token servers that may be private although the registry is not
	StallTimeout time.Duration    // silence after which a connection is given up; 0 = [DefaultStallTimeout]

	// Credentials is where passwords and tokens come from; nil = the docker
	// configuration (DOCKER_CONFIG or ~/.docker/config.json).
	Credentials credentials.Store
	// Wait passes the time between two tries; nil = a timer.
	Wait func(ctx context.Context, d time.Duration) error
}

// Repository is one repository of a registry.
type Repository struct {
	ref   registry.Reference
	opts  Options
	base  string                 // scheme://host/v2/repository
	name  string                 // registry/repository, for messages
	api   *orasremote.Repository // manifests
	lists *orasremote.Repository // tags, referrers
	blobs *orasremote.Repository // blobs, over HTTP/1.1

	digestFirst atomic.Bool // it refused an upload whose digest was not known at the start
}

var (
	_ bundle.Source   = (*Repository)(nil)
	_ bundle.Target   = (*Repository)(nil)
	_ bundle.Ingester = (*Repository)(nil)
)

// Open prepares a repository; nothing is sent yet. Errors: [bundle.ErrInvalid]
// if ref is not a registry reference, what is wrong with the certificate
// file, or a [*LoginError].
func Open(ref bundle.Reference, o Options) (*Repository, error) {
	if ref.Transport != bundle.TransportDocker {
		return nil, fmt.Errorf("%s: not in a registry: %w", ref, bundle.ErrInvalid)
	}
	o = withDefaults(o)
	store, err := credentialStore(o)
	if err != nil {
		return nil, err
	}
	apiTransport, blobTransport, err := transports(o)
	if err != nil {
		return nil, err
	}
	r := &Repository{
		ref:  registry.Reference{Registry: ref.Registry, Repository: ref.Repository},
		opts: o,
		name: ref.Registry + "/" + ref.Repository,
	}
	loopback := isLoopback(ref.Registry)
	plain := o.PlainHTTP || (loopback && o.CAFile == "")
	scheme := "https"
	if plain {
		scheme = "http"
	}
	r.base = scheme + "://" + r.ref.Host() + "/v2/" + ref.Repository
	cache := auth.NewCache()
	open := func(base http.RoundTripper) *orasremote.Repository {
		client := authClient(o, base, store, cache, loopback)
		return &orasremote.Repository{
			Client: client, Reference: r.ref, PlainHTTP: plain,
			ReferrerListMaxPages: maxReferrerPages, TagListMaxPages: maxTagPages, SkipReferrersGC: true,
		}
	}
	r.api, r.lists, r.blobs = open(apiTransport), open(apiTransport), open(blobTransport)
	r.lists.Client, r.lists.MaxMetadataBytes = pager{r.lists.Client}, maxList+1
	return r, nil
}

func withDefaults(o Options) Options {
	switch {
	case o.Retries == 0:
		o.Retries = DefaultRetries
	case o.Retries < 0:
		o.Retries = 0
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = DefaultStallTimeout
	}
	if o.UserAgent == "" {
		o.UserAgent = "metalpack"
	}
	if o.Wait == nil {
		o.Wait = httpstream.Wait
	}
	return o
}

// authClient is the oras client that answers challenges, over base.
func authClient(o Options, base http.RoundTripper, store credentials.Store, cache auth.Cache, loopback bool) *auth.Client {
	c := &auth.Client{
		Client: &http.Client{
			Transport: &realmGuard{
				base: &httpstream.Retry{
					Base:    &httpstream.Guard{Base: base, Timeout: o.StallTimeout},
					Retries: o.Retries, Wait: o.Wait, Events: o.Events,
				},
				allowed: o.AllowRealms,
			},
			CheckRedirect: checkRedirect,
		},
		Credential: credentials.Credential(store),
		Cache:      cache,
	}
	c.SetUserAgent(o.UserAgent)
	switch {
	case len(o.AllowRealms) > 0:
		c.BlockedRealmPrefixes = []netip.Prefix{} // realmGuard knows which; the library has no list of hosts
	case loopback:
		// A registry on this machine may have its token server here too.
		c.BlockedRealmPrefixes = slices.DeleteFunc(auth.DefaultBlockedRealmPrefixes(), func(p netip.Prefix) bool {
			return p.Addr().IsLoopback()
		})
	}
	return c
}

// isLoopback reports whether host[:port] is this machine by its name alone.
func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
