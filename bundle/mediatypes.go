// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Descriptor is the OCI content descriptor (image-spec, descriptor.md).
type Descriptor = ocispec.Descriptor

// Media types of the image specification that environments and models use.
const (
	MediaTypeIndex     = ocispec.MediaTypeImageIndex
	MediaTypeManifest  = ocispec.MediaTypeImageManifest
	MediaTypeConfig    = ocispec.MediaTypeImageConfig
	MediaTypeLayerGzip = ocispec.MediaTypeImageLayerGzip
	MediaTypeLayerZstd = ocispec.MediaTypeImageLayerZstd
)

// Annotations. Those under io.metalpack are ours.
const (
	// AnnotationLayer names a layer: "interpreter", "wheel/<name>",
	// "bucket/<nn>" or [MetadataLayer]. The layer column of the tree holds
	// the same names.
	AnnotationLayer = "io.metalpack.layer"
	// AnnotationTree is the tree digest, on environment manifests and on their
	// index entries.
	AnnotationTree = "io.metalpack.tree"
	// AnnotationName is the environment's name, which is also the payload root.
	AnnotationName = "io.metalpack.environment"
	// AnnotationFloor is the lowest OS the environment runs on: "macos 15.0"
	// or "glibc 2.35".
	AnnotationFloor = "io.metalpack.floor"
	// AnnotationCodec records codec, library version and level of a manifest's
	// layers.
	AnnotationCodec = "io.metalpack.codec"
	// AnnotationZstd marks the zstd twin in an index, as Podman does.
	AnnotationZstd = "io.github.containers.compression.zstd"
	// AnnotationFilepath is the path of a model file (ModelPack, Docker v0.2).
	AnnotationFilepath = "org.cncf.model.filepath"
	// AnnotationTitle is the file name that oras gives a layer.
	AnnotationTitle = ocispec.AnnotationTitle
)

// MetadataLayer is the name of the layer that holds metalpack/ alone.
const MetadataLayer = "metadata"

// Files of the metadata layer, relative to the payload root.
const (
	MetadataDir     = "metalpack"
	EnvironmentPath = "metalpack/environment.json"
	TreePath        = "metalpack/tree"
	RecipePath      = "metalpack/recipe.yaml"
	LockPath        = "metalpack/pylock.toml"
)

// MaxManifest is the cap on a manifest or index, in bytes.
const MaxManifest = 4 << 20

// IsManifest reports whether a media type is that of a manifest or an index,
// which registries keep apart from blobs.
func IsManifest(mediaType string) bool {
	switch mediaType {
	case MediaTypeIndex, MediaTypeManifest,
		"application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.distribution.manifest.list.v2+json":
		return true
	}
	return false
}

// DescriptorOf describes data as a blob or manifest of the given media type.
func DescriptorOf(mediaType string, data []byte) Descriptor {
	return Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}
