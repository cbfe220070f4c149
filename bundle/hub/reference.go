// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// MaxRevision is the cap on a revision's name, in bytes.
const MaxRevision = 200

// Hosts by which people name the hub; HF_ENDPOINT says where it really is.
var hosts = []string{"hf.co/", "huggingface.co/"}

// Reference names a model on the hub.
type Reference struct {
	Repo     string // org/name
	Revision string // branch, tag or commit; "" = main
}

// String is hf.co/org/name, with @revision if one is given.
func (r Reference) String() string {
	s := hosts[0] + r.Repo
	if r.Revision != "" {
		s += "@" + r.Revision
	}
	return s
}

// IsReference reports whether s names the hub itself, as opposed to org/name
// alone, which may as well be a directory or a repository of a registry.
func IsReference(s string) bool {
	for _, h := range hosts {
		if hasPrefixFold(strings.TrimPrefix(s, "https://"), h) {
			return true
		}
	}
	return false
}

// ParseReference reads "hf.co/org/name[@revision]", the same with
// huggingface.co, with https:// before it, or "org/name[@revision]". The error
// wraps [bundle.ErrInvalid].
func ParseReference(s string) (Reference, error) {
	rest := s
	if IsReference(s) {
		_, rest, _ = strings.Cut(strings.TrimPrefix(s, "https://"), "/")
	}
	repo, revision, pinned := strings.Cut(rest, "@")
	r := Reference{Repo: repo, Revision: revision}
	if err := checkRepo(repo); err != nil {
		return Reference{}, fmt.Errorf("model %.200q: %w", s, err)
	}
	if pinned {
		if err := checkRevision(revision); err != nil {
			return Reference{}, fmt.Errorf("model %.200q: %w", s, err)
		}
	}
	return r, nil
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

var (
	// What the hub lets people register: no "--", which its cache uses as a
	// separator, and no "..", which would be a path.
	repoPart   = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$`)
	isRevision = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9._/+-]*[A-Za-z0-9_])?$`)
	isCommit   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	isSHA256   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// checkRepo reports why s is no repository of the hub.
func checkRepo(s string) error {
	org, name, ok := strings.Cut(s, "/")
	switch {
	case !ok || strings.Contains(name, "/"):
		return fmt.Errorf("a model of the hub is org/name: %w", bundle.ErrInvalid)
	case strings.Contains(name, ":"):
		return fmt.Errorf("a revision follows @, not a colon: %w", bundle.ErrInvalid)
	}
	for _, part := range []string{org, name} {
		if !repoPart.MatchString(part) || strings.Contains(part, "--") || strings.Contains(part, "..") {
			return fmt.Errorf("%.100q is no name of the hub: %w", part, bundle.ErrInvalid)
		}
	}
	return nil
}

// checkRevision reports why s is no branch, tag or commit.
func checkRevision(s string) error {
	if len(s) > MaxRevision || !isRevision.MatchString(s) || strings.Contains(s, "..") || strings.Contains(s, "//") {
		return fmt.Errorf("revision %.100q: no name of a branch, tag or commit: %w", s, bundle.ErrInvalid)
	}
	return nil
}
