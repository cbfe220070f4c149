// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// realmParameter finds the address of a token server in a challenge.
var realmParameter = regexp.MustCompile(`(?i)\brealm\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))`)

// realmGuard looks at each challenge of a registry before credentials go where
// it points: to a private or local address they go only if the registry itself
// lies there, because whoever answers for a registry on the open network must
// not choose a target in the user's own.
type realmGuard struct {
	base    http.RoundTripper
	allowed []string // hosts the user named
}

// RoundTrip implements http.RoundTripper.
func (g *realmGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := g.base.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	for _, challenge := range resp.Header.Values("Www-Authenticate") {
		if !strings.Contains(strings.ToLower(challenge), "bearer") {
			continue // the realm of Basic is a name, not an address
		}
		for _, m := range realmParameter.FindAllStringSubmatch(challenge, -1) {
			if err := g.check(req.Context(), req.URL, m[1]+m[2]); err != nil {
				httpstream.Drain(resp.Body)
				return nil, err
			}
		}
	}
	return resp, nil
}

// RealmError says that a registry sends logins where they must not go. It
// wraps [bundle.ErrInvalid].
type RealmError struct {
	Registry string
	Realm    string // what the registry said: text from outside
	Why      string
	Allow    string // the host to allow, if that would help
}

// Error names the registry, the token server and the reason.
func (e *RealmError) Error() string {
	return fmt.Sprintf("%s sends logins to %.200q: %s; nothing was sent there", e.Registry, e.Realm, e.Why)
}

// Hint says what to do if the registry is right.
func (e *RealmError) Hint() string {
	if e.Allow == "" {
		return ""
	}
	return "if you know that this is the registry's token server: --allow-realm " + e.Allow
}

// Unwrap returns [bundle.ErrInvalid].
func (*RealmError) Unwrap() error { return bundle.ErrInvalid }

// check reports whether a token server may be asked. The error is a
// [*RealmError].
func (g *realmGuard) check(ctx context.Context, reg *url.URL, realm string) error {
	bad := func(why string) error { return &RealmError{Registry: reg.Host, Realm: realm, Why: why} }
	u, err := url.Parse(realm)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return bad("that is no http or https address")
	case u.User != nil:
		return bad("that address holds credentials")
	case u.Scheme == "http" && reg.Scheme == "https":
		return bad("http, although the registry itself is on https")
	case strings.EqualFold(u.Hostname(), reg.Hostname()), slices.Contains(g.allowed, u.Hostname()):
		return nil
	case isNumber(u.Hostname()):
		return bad("that host is a number")
	}
	blocked := slices.Concat(auth.DefaultBlockedRealmPrefixes(), auth.PrivateRealmPrefixes())
	for _, addr := range addresses(ctx, u.Hostname()) {
		for _, p := range blocked {
			if p.Contains(addr) && !liesIn(addresses(ctx, reg.Hostname()), p) {
				why := fmt.Sprintf("%s is a private or local address, and the registry is not in %s", addr, p)
				return &RealmError{Registry: reg.Host, Realm: realm, Why: why, Allow: u.Hostname()}
			}
		}
	}
	return nil
}

// liesIn reports whether one of addrs is in p; all loopback addresses are one
// machine.
func liesIn(addrs []netip.Addr, p netip.Prefix) bool {
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return p.Contains(a) || a.IsLoopback() && p.Addr().IsLoopback()
	})
}

// addresses returns what a host stands for. A name that does not resolve has
// none: behind a proxy it may be the proxy that knows it.
func addresses(ctx context.Context, host string) []netip.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{reached(addr)}
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	for i := range found {
		found[i] = reached(found[i])
	}
	return found
}

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
)

// reached is the IPv4 address that an IPv6 one leads to, if it does.
func reached(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	switch b := addr.As16(); {
	case nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return addr
}

// isNumber reports whether a host that is no address in the usual form ends in
// a number: some systems read 2130706433 or 0x7f.1 as 127.0.0.1.
func isNumber(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	digits := strings.TrimPrefix(last, "0x")
	return digits == "" || digits != last && strings.Trim(digits, "0123456789abcdef") == "" || strings.Trim(last, "0123456789") == ""
}
