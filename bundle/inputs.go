// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of an archive of inputs.
const (
	// MediaTypeInputs is the artifact type.
	MediaTypeInputs = "application/vnd.metalpack.inputs.v1"
	// MediaTypeInput is that of a layer: a file, byte for byte.
	MediaTypeInput = "application/vnd.metalpack.input.v1.raw"
)

// EmptyConfig is the content of the config of an artifact that has none.
const EmptyConfig = "{}"

// InputFile is a file of an archive of inputs: a wheel or an interpreter.
type InputFile struct {
	Name   string // file name, without a directory
	Digest digest.Digest
	Size   int64 // bytes
}

// Descriptor describes the file's layer.
func (f InputFile) Descriptor() Descriptor {
	return Descriptor{
		MediaType: MediaTypeInput, Digest: f.Digest, Size: f.Size,
		Annotations: map[string]string{AnnotationTitle: f.Name},
	}
}

// EncodeInputs returns the manifest of an archive of inputs. The same files
// give the same bytes in whatever order they come. Two files of one name are
// an error that wraps [ErrInvalid]; so is what [ParseInputs] would refuse.
func EncodeInputs(files []InputFile) ([]byte, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b InputFile) int { return strings.Compare(a.Name, b.Name) })
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: MediaTypeManifest, ArtifactType: MediaTypeInputs,
		Config: DescriptorOf(ocispec.MediaTypeEmptyJSON, []byte(EmptyConfig)),
		Layers: make([]Descriptor, 0, len(files)),
	}
	for _, f := range files {
		m.Layers = append(m.Layers, f.Descriptor())
	}
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("inputs: %w", err)
	}
	if _, err := ParseInputs(data); err != nil {
		return nil, err
	}
	return data, nil
}

// ParseInputs decodes the manifest of an archive of inputs and returns its
// files in order. What is no such manifest, a layer without a file name and
// two of one name are errors that wrap [ErrInvalid].
func ParseInputs(data []byte) ([]InputFile, error) {
	m, err := ParseManifest(data)
	if err != nil {
		return nil, err
	}
	if m.ArtifactType != MediaTypeInputs {
		return nil, fmt.Errorf("manifest: artifactType %q, want %s: %w", m.ArtifactType, MediaTypeInputs, ErrInvalid)
	}
	files := make([]InputFile, 0, len(m.Layers))
	seen := map[string]bool{}
	for _, d := range m.Layers {
		name := d.Annotations[AnnotationTitle]
		if err := CheckPath(name); err != nil || strings.Contains(name, "/") {
			return nil, fmt.Errorf("manifest: layer %s: title %.140q is no file name: %w", d.Digest, name, ErrInvalid)
		}
		if seen[name] {
			return nil, fmt.Errorf("manifest: two layers with the title %q: %w", name, ErrInvalid)
		}
		seen[name] = true
		files = append(files, InputFile{Name: name, Digest: d.Digest, Size: d.Size})
	}
	return files, nil
}
