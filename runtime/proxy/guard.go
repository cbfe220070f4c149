// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// guard refuses requests that a web page or a rebound name sent: the Host, and
// the Origin if there is one, must be loopback or allowed. For an allowed
// origin it sets what a browser wants to see.
func (h *handler) guard(w http.ResponseWriter, r *http.Request) *apiError {
	if host := hostname(r.Host); !h.allowed(host) {
		return refused("Host", host)
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !h.allowed(strings.ToLower(u.Hostname())) {
		return refused("Origin", origin)
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	headers := "Authorization, Content-Type"
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		headers = asked // clients name their version in headers of their own
	}
	w.Header().Set("Access-Control-Allow-Headers", headers)
	w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
	w.Header().Set("Vary", "Origin")
	return nil
}

func refused(header, value string) *apiError {
	return newError(http.StatusForbidden, "", "host_not_allowed",
		fmt.Sprintf("%s %q is not this machine: start the server with --allow-host NAME to let it in", header, value))
}

// hostname is the host without a port, in lower case.
func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		hostport = host
	}
	return strings.ToLower(strings.Trim(hostport, "[]"))
}

// allowed reports whether host is loopback or on the list. A request without a
// host came over a Unix socket or from a program of old, not from a browser.
func (h *handler) allowed(host string) bool {
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Unmap().IsLoopback() {
		return true
	}
	return slices.ContainsFunc(h.opts.AllowHosts, func(a string) bool { return strings.EqualFold(hostname(a), host) })
}
