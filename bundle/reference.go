// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Transport says what kind of place a [Reference] names, by the words of
// containers-transports(5).
type Transport string

// The transports.
const (
	TransportDocker  Transport = "docker"      // a registry
	TransportLayout  Transport = "oci"         // a directory with an OCI image layout
	TransportArchive Transport = "oci-archive" // the same in one tar file
)

// DockerHub is the registry meant when a reference names none.
const DockerHub = "docker.io"

// Reference says where one artifact lies.
type Reference struct {
	Transport  Transport
	Registry   string // host[:port], for TransportDocker
	Repository string // for TransportDocker
	Path       string // directory or file, for the others
	Tag        string // or name inside the archive; "" if none was given
	Digest     digest.Digest
}

var (
	repositoryPattern = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	hostPattern       = regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$`)
	tagPattern        = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
)

// ParseSource reads a source or registry reference:
// [docker://]registry/repository[:tag][@digest], oci:DIR[:tag][@digest] or
// oci-archive:FILE[:NAME][@digest]. namespace ("ai" for models) completes a repository
// of one component on Docker Hub; with "" such a word is an error. Errors wrap
// [ErrInvalid].
func ParseSource(s, namespace string) (Reference, error) {
	if t, rest, ok := cutTransport(s); ok {
		if t == TransportDocker {
			return parseRegistry(s, rest, namespace)
		}
		return parsePath(s, t, rest)
	}
	return parseRegistry(s, s, namespace)
}

// ParseDestination reads a reference that must name its transport. Errors wrap
// [ErrInvalid].
func ParseDestination(s, namespace string) (Reference, error) {
	if _, _, ok := cutTransport(s); !ok {
		where := fmt.Sprintf("docker://%s to push it to a registry", s)
		if first, _, _ := strings.Cut(s, "/"); !strings.ContainsAny(first, ":") { // no host with a port
			where += fmt.Sprintf(", oci:%s for a directory, oci-archive:%s.tar for a file", s, s)
		}
		return Reference{}, fmt.Errorf("destination %q names no transport: write %s: %w", s, where, ErrInvalid)
	}
	return ParseSource(s, namespace)
}

func cutTransport(s string) (Transport, string, bool) {
	if rest, ok := strings.CutPrefix(s, "docker://"); ok {
		return TransportDocker, rest, true
	}
	for _, t := range []Transport{TransportArchive, TransportLayout} {
		if rest, ok := strings.CutPrefix(s, string(t)+":"); ok {
			return t, rest, true
		}
	}
	return "", "", false
}

func parsePath(s string, t Transport, rest string) (Reference, error) {
	r := Reference{Transport: t, Path: rest}
	if i := strings.LastIndex(rest, "@sha256:"); i >= 0 && CheckDigest(digest.Digest(rest[i+1:])) == nil {
		r.Digest, rest = digest.Digest(rest[i+1:]), rest[:i]
		r.Path = rest
	}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.Contains(rest[i:], "/") {
		r.Path, r.Tag = rest[:i], rest[i+1:]
		if !tagPattern.MatchString(r.Tag) {
			return Reference{}, fmt.Errorf("reference %q: tag %q: want letters, digits, '.', '_' and '-', at most 128: %w", s, r.Tag, ErrInvalid)
		}
	}
	if r.Path == "" {
		return Reference{}, fmt.Errorf("reference %q: no path: %w", s, ErrInvalid)
	}
	return r, nil
}

func parseRegistry(s, rest, namespace string) (Reference, error) {
	bad := func(format string, args ...any) (Reference, error) {
		return Reference{}, fmt.Errorf("reference %q: %s: %w", s, fmt.Sprintf(format, args...), ErrInvalid)
	}
	r := Reference{Transport: TransportDocker, Registry: DockerHub}
	name, dig, hasDigest := strings.Cut(rest, "@")
	if hasDigest {
		r.Digest = digest.Digest(dig)
		if CheckDigest(r.Digest) != nil {
			return bad("digest %q: want sha256: and 64 lower-case hex digits", dig)
		}
	}
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.Contains(name[i:], "/") {
		name, r.Tag = name[:i], name[i+1:]
		if !tagPattern.MatchString(r.Tag) {
			return bad("tag %q: want letters, digits, '.', '_' and '-', at most 128", r.Tag)
		}
	}
	if first, tail, ok := strings.Cut(name, "/"); ok && (strings.ContainsAny(first, ".:[") || first == "localhost") {
		if !hostPattern.MatchString(first) {
			return bad("%q is not a registry host", first)
		}
		r.Registry, name = first, tail
	}
	if r.Registry == DockerHub && !strings.Contains(name, "/") && name != "" {
		if namespace == "" {
			return bad("want organisation/name, like metalpack/%s", name)
		}
		name = namespace + "/" + name
	}
	if !repositoryPattern.MatchString(name) || len(name) > 255 {
		return bad("repository %q: want lower-case letters, digits and separators, like org/name", name)
	}
	r.Repository = name
	return r, nil
}

// Name is what to resolve: the digest if there is one, else the tag, else
// "latest" in a registry and "" (the only artifact) elsewhere.
func (r Reference) Name() string {
	switch {
	case r.Digest != "":
		return r.Digest.String()
	case r.Tag != "":
		return r.Tag
	case r.Transport == TransportDocker:
		return "latest"
	}
	return ""
}

// String returns the reference in the form it can be parsed from; registry
// references come without the docker:// prefix.
func (r Reference) String() string {
	s := r.Registry + "/" + r.Repository
	if r.Transport != TransportDocker {
		s = string(r.Transport) + ":" + r.Path
	}
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}
