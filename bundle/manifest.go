// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"context"
	"fmt"
	"io"
	"slices"

	_ "crypto/sha256" // go-digest calls an algorithm that is not linked in unsupported

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Caps on what a manifest may name.
const (
	MaxIndexEntries = 64
	MaxLayers       = 4096
	MaxBlob         = 1 << 42 // bytes
)

// CheckDigest reports whether d is a well-formed sha256 digest, the only
// algorithm metalpack uses. It is called before a digest becomes part of a
// path. The error wraps [ErrInvalid].
func CheckDigest(d digest.Digest) error {
	if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %q: want sha256 and 64 lower-case hex digits: %w", string(d), ErrInvalid)
	}
	return nil
}

// CheckDescriptor reports whether a descriptor can be fetched: a sha256 digest,
// a sane size, a media type, nothing stored elsewhere. The error wraps
// [ErrInvalid].
func CheckDescriptor(d Descriptor) error {
	if err := CheckDigest(d.Digest); err != nil {
		return err
	}
	switch {
	case d.Size < 0 || d.Size > MaxBlob:
		return fmt.Errorf("%s: size %d: %w", d.Digest, d.Size, ErrInvalid)
	case d.MediaType == "":
		return fmt.Errorf("%s: no media type: %w", d.Digest, ErrInvalid)
	case len(d.URLs) > 0:
		return fmt.Errorf("%s: foreign layers (urls) are refused: %w", d.Digest, ErrInvalid)
	}
	return nil
}

// ParseManifest decodes an image manifest and checks its descriptors. Errors
// wrap [ErrInvalid].
func ParseManifest(data []byte) (*ocispec.Manifest, error) {
	m := new(ocispec.Manifest)
	if err := DecodeManifest(data, m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if m.SchemaVersion != 2 || (m.MediaType != "" && m.MediaType != MediaTypeManifest) {
		return nil, fmt.Errorf("manifest: schemaVersion %d, mediaType %q: want 2 and %s: %w", m.SchemaVersion, m.MediaType, MediaTypeManifest, ErrInvalid)
	}
	if len(m.Layers) > MaxLayers {
		return nil, fmt.Errorf("manifest: %d layers, more than %d: %w", len(m.Layers), MaxLayers, ErrInvalid)
	}
	for _, d := range append([]Descriptor{m.Config}, m.Layers...) {
		if err := CheckDescriptor(d); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
	}
	return m, nil
}

// ParseIndex decodes an image index of manifests: one level, at most
// [MaxIndexEntries]. Errors wrap [ErrInvalid].
func ParseIndex(data []byte) (*ocispec.Index, error) {
	x := new(ocispec.Index)
	if err := DecodeManifest(data, x); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	if x.SchemaVersion != 2 || (x.MediaType != "" && x.MediaType != MediaTypeIndex) {
		return nil, fmt.Errorf("index: schemaVersion %d, mediaType %q: want 2 and %s: %w", x.SchemaVersion, x.MediaType, MediaTypeIndex, ErrInvalid)
	}
	if len(x.Manifests) > MaxIndexEntries {
		return nil, fmt.Errorf("index: %d entries, more than %d: %w", len(x.Manifests), MaxIndexEntries, ErrInvalid)
	}
	for _, d := range x.Manifests {
		if err := CheckDescriptor(d); err != nil {
			return nil, fmt.Errorf("index: %w", err)
		}
	}
	return x, nil
}

// Children returns what a manifest or index names directly: config and layers,
// or manifests. Errors wrap [ErrInvalid].
func Children(mediaType string, data []byte) ([]Descriptor, error) {
	if mediaType == MediaTypeIndex {
		x, err := ParseIndex(data)
		if err != nil {
			return nil, err
		}
		return x.Manifests, nil
	}
	m, err := ParseManifest(data)
	if err != nil {
		return nil, err
	}
	return append([]Descriptor{m.Config}, m.Layers...), nil
}

// IsZstd reports whether an index entry is the zstd twin.
func IsZstd(d Descriptor) bool { return d.Annotations[AnnotationZstd] == "true" }

// SelectManifest picks the entry of an environment index for host, the zstd
// twin if there is one, the highest floor that host satisfies. The error wraps
// [ErrUnsupportedHost] and lists what there is, or [ErrInvalid] if two entries
// are equally good.
func SelectManifest(x *ocispec.Index, host Platform) (Descriptor, error) {
	var best []Descriptor
	var have []string
	var why error
	for _, d := range x.Manifests {
		p, err := entryPlatform(d)
		if err != nil {
			return Descriptor{}, err
		}
		if label := p.String() + " (" + p.Floor() + ")"; !slices.Contains(have, label) {
			have = append(have, label)
		}
		if err := p.Runs(host); err != nil {
			if p.String() == host.String() {
				why = err
			}
			continue
		}
		// Only of one that would be taken: images of others have all kinds, and
		// are told as no environment.
		if v := d.Platform.Variant; v != "" && (v != "v8" || p.Arch != "arm64") || len(d.Platform.OSFeatures) > 0 {
			return Descriptor{}, fmt.Errorf("index entry %s: platform with a variant or features, which nobody here can judge: %w", d.Digest, ErrInvalid)
		}
		best = better(best, d, p)
	}
	switch {
	case len(best) == 1:
		return best[0], nil
	case len(best) > 1:
		return Descriptor{}, fmt.Errorf("index: %d entries for %s are alike: %w", len(best), host, ErrInvalid)
	case why != nil:
		return Descriptor{}, why
	}
	return Descriptor{}, fmt.Errorf("nothing for %s, only %v: %w", host, have, ErrUnsupportedHost)
}

// better keeps the best candidates: higher floor first, then zstd.
func better(best []Descriptor, d Descriptor, p Platform) []Descriptor {
	if len(best) == 0 {
		return []Descriptor{d}
	}
	old, _ := entryPlatform(best[0]) // parsed before it was kept
	switch c := compareVersions(p.MacOS+p.Glibc, old.MacOS+old.Glibc); {
	case c > 0, c == 0 && IsZstd(d) && !IsZstd(best[0]):
		return []Descriptor{d}
	case c < 0, IsZstd(d) != IsZstd(best[0]):
		return best
	}
	return append(best, d)
}

func entryPlatform(d Descriptor) (Platform, error) {
	if d.Platform == nil || d.MediaType != MediaTypeManifest {
		return Platform{}, fmt.Errorf("index entry %s: want a manifest with a platform: %w", d.Digest, ErrInvalid)
	}
	p := Platform{OS: d.Platform.OS, Arch: d.Platform.Architecture, MacOS: d.Platform.OSVersion}
	if v, ok := cutFloor(d.Annotations[AnnotationFloor], "glibc "); ok {
		p.Glibc, p.MacOS = v, ""
	}
	return p, nil
}

func cutFloor(s, prefix string) (string, bool) {
	if len(s) > len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):], true
	}
	return "", false
}

// FetchBlob reads a whole small blob (a config, environment.json) of at most
// limit bytes and verifies it. Errors: those of Source.Open, [ErrMismatch],
// [ErrInvalid] if it is declared larger.
func FetchBlob(ctx context.Context, src Source, desc Descriptor, limit int64) (data []byte, err error) {
	if err := CheckDescriptor(desc); err != nil {
		return nil, err
	}
	if desc.Size > limit {
		return nil, fmt.Errorf("%s: %d bytes, more than %d: %w", desc.Digest, desc.Size, limit, ErrInvalid)
	}
	rc, err := src.Open(ctx, desc, 0)
	if err != nil {
		return nil, err
	}
	defer closeErr(&err, rc)
	return ReadVerified(rc, desc)
}

func closeErr(err *error, c io.Closer) {
	if cerr := c.Close(); *err == nil {
		*err = cerr
	}
}
