// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package layout owns artifacts on disk: an OCI image layout in a directory,
// or the same in one tar file.
//
// # How it works
//
// [Open] reads either as [bundle.Source]; the entries of an archive are found
// once and then read in place. [Create] writes either as [bundle.Target]:
// blobs go under their names at once, because nothing sees them there, and
// [Writer.Commit] makes the tagged artifacts visible. An archive is staged as
// a directory beside it and written whole at the end; what it held before is
// kept. Writers of one place share a lock; one that finds it free clears what
// killed writers left. A blob of unknown digest is hashed while it is written
// ([Writer.Ingest]). Of a file on the same file system, as little as can be is
// written: one that nobody writes to any more, such as a layer in the build
// cache, is linked; of one that is the user's own, such as the weights of a
// model, the layout has a clone, where there are clones, and else a copy.
//
// # Promises
//
// A blob gets its name only after its size and digest were found right and it
// was synced. It is then sealed by a modification time of its own, which every
// later write changes; one that lies there without the seal is hashed before an
// artifact is built on it. A linked blob that is damaged in one place is damaged
// in both: each finds out by itself, since neither trusts what was written to.
// index.json is replaced by one rename, under a lock that other
// processes of this package respect, sorted, and lists tagged roots and
// referrers only. The same artifacts give the same archive, byte for byte.
// Links inside a layout are not followed out of it.
package layout

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// Caps on what is read.
const (
	maxIndexEntries   = 4096
	maxLayoutFile     = 4 << 10
	maxArchiveEntries = 1 << 18 // of an archive, and files among the blobs of a directory
)

// layoutFile is the content of the file oci-layout.
const layoutFile = `{"imageLayoutVersion":"1.0.0"}`

// blobName is where a blob lies in a layout. The digest has been checked.
func blobName(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }

// refName is the tag of an entry of index.json.
func refName(d bundle.Descriptor) string { return d.Annotations[ocispec.AnnotationRefName] }

// parseIndex decodes index.json. Errors wrap [bundle.ErrInvalid].
func parseIndex(data []byte) ([]bundle.Descriptor, error) {
	var x ocispec.Index
	if err := bundle.DecodeManifest(data, &x); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	if x.SchemaVersion != 2 || len(x.Manifests) > maxIndexEntries {
		return nil, fmt.Errorf("index.json: schemaVersion %d with %d entries: want 2 and at most %d: %w", x.SchemaVersion, len(x.Manifests), maxIndexEntries, bundle.ErrInvalid)
	}
	for _, d := range x.Manifests {
		if err := bundle.CheckDescriptor(d); err != nil {
			return nil, fmt.Errorf("index.json: %w", err)
		}
	}
	return x.Manifests, nil
}

// encodeIndex returns the bytes of index.json; equal entries give equal bytes.
func encodeIndex(entries []bundle.Descriptor) ([]byte, error) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b bundle.Descriptor) int {
		if c := strings.Compare(refName(a), refName(b)); c != 0 {
			return c
		}
		return strings.Compare(a.Digest.String(), b.Digest.String())
	})
	data, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: bundle.MediaTypeIndex, Manifests: entries,
	})
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	return data, nil
}

// merge adds entries to old ones: a tag moves to its new artifact, an untagged
// entry (a referrer) stays single.
func merge(old, added []bundle.Descriptor) []bundle.Descriptor {
	out := slices.Clone(old)
	for _, d := range added {
		out = slices.DeleteFunc(out, func(o bundle.Descriptor) bool {
			return refName(o) == refName(d) && (refName(d) != "" || o.Digest == d.Digest)
		})
		out = append(out, d)
	}
	return out
}

// manifestHead is what tells a manifest from an index and a referrer from a
// root.
type manifestHead struct {
	MediaType    string              `json:"mediaType"`
	ArtifactType string              `json:"artifactType"`
	Config       bundle.Descriptor   `json:"config"`
	Subject      *bundle.Descriptor  `json:"subject"`
	Annotations  map[string]string   `json:"annotations"`
	Manifests    []bundle.Descriptor `json:"manifests"`
}

// headOf reads the head of a manifest. Errors wrap [bundle.ErrInvalid].
func headOf(data []byte) (manifestHead, error) {
	var h manifestHead
	if err := bundle.DecodeManifest(data, &h); err != nil {
		return h, err
	}
	if h.MediaType == "" {
		h.MediaType = bundle.MediaTypeManifest
		if h.Manifests != nil {
			h.MediaType = bundle.MediaTypeIndex
		}
	}
	if h.ArtifactType == "" {
		h.ArtifactType = h.Config.MediaType
	}
	return h, nil
}
