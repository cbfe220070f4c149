// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"encoding/json"
	"net/url"
)

// directURL returns the content of direct_url.json (PEP 610) for a wheel that
// comes from an address of its own: by it pip, uv and auditors tell that the
// package is not the index's. Credentials and fragments do not belong in it.
func directURL(address, sum string) ([]byte, error) {
	if address == "" {
		return nil, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return nil, invalid("its own URL does not parse")
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	type archive struct {
		Hashes map[string]string `json:"hashes"`
	}
	return json.Marshal(struct {
		Archive archive `json:"archive_info"` //nolint:tagliatelle // named by PEP 610
		URL     string  `json:"url"`
	}{archive{map[string]string{"sha256": sum}}, u.String()})
}
