// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"encoding/json"
	"net/url"
)

// Origin says where a wheel comes from that is on no index. The zero Origin is
// that of a wheel on one.
type Origin struct {
	URL          string // of the wheel; with VCS, of the repository
	VCS          string // git, …: the wheel was made of a commit
	Commit       string // with VCS
	Revision     string // by which the commit was asked for; "" = not known
	Subdirectory string // of the repository, in which the project lies; "" = its top
}

// directURL is direct_url.json (PEP 610).
//
//nolint:tagliatelle // named there
type directURL struct {
	Archive      *archiveInfo `json:"archive_info,omitempty"`
	Subdirectory string       `json:"subdirectory,omitempty"`
	URL          string       `json:"url"`
	VCS          *vcsInfo     `json:"vcs_info,omitempty"`
}

type archiveInfo struct {
	Hashes map[string]string `json:"hashes"`
}

//nolint:tagliatelle // named by PEP 610
type vcsInfo struct {
	Commit   string `json:"commit_id"`
	Revision string `json:"requested_revision,omitempty"`
	VCS      string `json:"vcs"`
}

// directURL returns the content of direct_url.json for a wheel with that sha256
// (hex): by it pip, uv and auditors tell that the package is not the index's.
// Credentials and fragments do not belong in it.
func (o Origin) directURL(sum string) ([]byte, error) {
	if o == (Origin{}) {
		return nil, nil
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme == "" || u.Host == "" && u.Scheme != "file" {
		return nil, invalid("its own URL does not parse")
	}
	if _, secret := u.User.Password(); secret || u.Scheme != "ssh" || u.User.Username() != "git" { // which is a convention, not a login
		u.User = nil
	}
	u.Fragment, u.RawFragment = "", ""
	d := directURL{URL: u.String()}
	switch {
	case o.VCS == "":
		d.Archive = &archiveInfo{map[string]string{"sha256": sum}}
	case o.Commit == "":
		return nil, invalid("made of a commit that nobody names")
	default:
		d.VCS = &vcsInfo{Commit: o.Commit, Revision: o.Revision, VCS: o.VCS}
		d.Subdirectory = o.Subdirectory
	}
	return json.Marshal(d)
}
