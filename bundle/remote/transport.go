// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"
	"net/http"
	"os"

	"oras.land/oras-go/v2/registry/remote/credentials"

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
