// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"net/http"

	"github.com/metalpack/metalpack/internal/httpstream"
)

// checkRedirect bounds redirects; the oras client has already dropped
// Authorization if the origin changes.
func checkRedirect(req *http.Request, via []*http.Request) error {
	return httpstream.CheckHop(via[len(via)-1].URL, req.URL, len(via))
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
	config, err := httpstream.Trust(o.CAFile)
	if err != nil {
		return nil, nil, err
	}
	a, b := httpstream.Transports(config, o.StallTimeout)
	return a, b, nil
}
