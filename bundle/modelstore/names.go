// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/typo"
)

// hub is how DMR writes the Hugging Face hub in tags; hf.co is what users type.
const hub = "huggingface.co"

// Normalize brings a model's name into the form in which the store keeps tags:
// registry, repository in lower case, tag. "x" becomes docker.io/ai/x:latest,
// hf.co/Org/M:Q8 huggingface.co/org/m:Q8. A digest is dropped: it is no part of a tag.
// The error wraps [bundle.ErrInvalid].
func Normalize(ref string) (string, error) {
	bad := fmt.Errorf("model name %q: want name, org/name or host/org/name, each with an optional :tag: %w", ref, bundle.ErrInvalid)
	name, dig, pinned := strings.Cut(strings.TrimSpace(ref), "@")
	if pinned && bundle.CheckDigest(digest.Digest(dig)) != nil {
		return "", bad
	}
	name = strings.TrimPrefix(name, "docker://")
	tag := "latest"
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.Contains(name[i:], "/") {
		name, tag = name[:i], name[i+1:]
	}
	name = strings.ToLower(name)
	for from, to := range map[string]string{"index.docker.io/": bundle.DockerHub + "/", "hf.co/": hub + "/"} {
		if rest, ok := strings.CutPrefix(name, from); ok {
			name = to + rest
		}
	}
	r, err := bundle.ParseSource("docker://"+name+":"+tag, "ai")
	if err != nil {
		return "", bad
	}
	return r.String(), nil
}

var (
	idPattern      = regexp.MustCompile(`^(?:sha256:)?[0-9a-f]{64}$`)
	shortIDPattern = regexp.MustCompile(`^(?:sha256:)?[0-9a-f]{12}$`)
)

// isID reports whether a user's word is the id, or its first 12 digits.
func isID(word string, id digest.Digest) bool {
	word = strings.TrimSpace(word)
	hex := strings.TrimPrefix(word, "sha256:")
	return idPattern.MatchString(word) && hex == id.Encoded() || shortIDPattern.MatchString(word) && hex == id.Encoded()[:12]
}

// Names lists all forms under which a user or a client may name a model: of
// each tag the full one and every shorter one that means the same, then the
// id in full, bare, and its first 12 digits. No form is listed twice.
func Names(m Model) []string {
	var out []string
	for _, tag := range m.Tags {
		full, err := Normalize(tag)
		if err != nil {
			full = tag
		}
		forms := []string{full}
		if rest, ok := strings.CutPrefix(full, bundle.DockerHub+"/"); ok {
			forms = append(forms, rest)
			if short, ok := strings.CutPrefix(rest, "ai/"); ok {
				forms = append(forms, short)
			}
		}
		if rest, ok := strings.CutPrefix(full, hub+"/"); ok {
			forms = append(forms, "hf.co/"+rest)
		}
		for _, f := range forms {
			out = append(out, f)
			if bare, ok := strings.CutSuffix(f, ":latest"); ok {
				out = append(out, bare)
			}
		}
	}
	if m.ID != "" {
		out = append(out, m.ID.String(), m.ID.Encoded(), m.ID.Encoded()[:12])
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(s string) bool {
		twice := seen[s]
		seen[s] = true
		return twice
	})
}

// maxNear is how many names a user is shown who mistyped one.
const maxNear = 3

// Near lists the tags of models that a user who wrote word may have meant: of
// the same name with another tag or registry, of a name that holds it, or with
// a slip of one or two letters.
func Near(models []Model, word string) []string {
	base := func(s string) string {
		s = strings.ToLower(s[strings.LastIndexByte(s, '/')+1:])
		name, _, _ := strings.Cut(s, ":")
		return name
	}
	var out []string
	for _, m := range models {
		for _, tag := range m.Tags {
			have, want := base(tag), base(word)
			slip := typo.Distance(have, want) <= min(2, len(want)/3)
			if want != "" && (slip || strings.Contains(have, want)) && !slices.Contains(out, tag) && len(out) < maxNear {
				out = append(out, tag)
			}
		}
	}
	return out
}
