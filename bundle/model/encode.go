// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// wireManifest has the key order that Docker Model Runner writes; image-spec's
// own struct puts digest before size.
type wireManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        wireDescriptor    `json:"config"`
	Layers        []wireDescriptor  `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type wireDescriptor struct {
	MediaType   string            `json:"mediaType"`
	Size        int64             `json:"size"`
	Digest      digest.Digest     `json:"digest"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// modelPackConfig is the config of a ModelPack artifact, as far as both
// published schemas allow it. DMR tells ModelPack from Docker by the names in
// here.
type modelPackConfig struct {
	Descriptor struct{}        `json:"descriptor"`
	Config     modelPackFields `json:"config"`
	ModelFS    modelPackFS     `json:"modelfs"`
}

type modelPackFields struct {
	Architecture string `json:"architecture,omitempty"`
	Format       string `json:"format,omitempty"`
	ParamSize    string `json:"paramSize,omitempty"`
	Precision    string `json:"precision,omitempty"`
	Quantization string `json:"quantization,omitempty"`
}

type modelPackFS struct {
	Type    string          `json:"type"`
	DiffIDs []digest.Digest `json:"diffIds"`
}

func encodeConfig(m *Model, md Metadata) ([]byte, error) {
	c := modelPackConfig{
		Config: modelPackFields{
			Architecture: m.Architecture, Format: m.Format, ParamSize: formatParamSize(md.Parameters),
			Precision: md.precision(), Quantization: m.Quantization,
		},
		ModelFS: modelPackFS{Type: "layers"},
	}
	for _, f := range m.Files {
		c.ModelFS.DiffIDs = append(c.ModelFS.DiffIDs, f.Descriptor.Digest) // raw layers: nothing to undo
	}
	data, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("model config: %w", err)
	}
	return data, nil
}

func encodeManifest(m *Model, md Metadata, config bundle.Descriptor, allow []string) ([]byte, error) {
	w := wireManifest{
		SchemaVersion: 2, MediaType: bundle.MediaTypeManifest, ArtifactType: ArtifactTypeModelPack,
		Config:      wireDescriptor{MediaType: config.MediaType, Size: config.Size, Digest: config.Digest},
		Annotations: annotations(md, allow),
	}
	for _, f := range m.Files {
		d := f.Descriptor
		w.Layers = append(w.Layers, wireDescriptor{MediaType: d.MediaType, Size: d.Size, Digest: d.Digest, Annotations: d.Annotations})
	}
	data, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("model manifest: %w", err)
	}
	if len(data) > bundle.MaxManifest || len(w.Layers) > bundle.MaxLayers {
		return nil, invalid("model manifest: %d files, %d bytes", len(w.Layers), len(data))
	}
	return data, nil
}

// annotations holds what the ModelPack config has no key for.
func annotations(m Metadata, allow []string) map[string]string {
	out := map[string]string{AnnotationParameters: strconv.FormatUint(m.Parameters, 10)}
	if m.Context > 0 {
		out[AnnotationContext] = strconv.FormatInt(m.Context, 10)
	}
	if q := m.Quantization; q.Bits > 0 {
		out[AnnotationBits] = strconv.Itoa(q.Bits)
		if q.GroupSize > 0 {
			out[AnnotationGroupSize] = strconv.Itoa(q.GroupSize)
		}
	}
	if len(allow) > 0 {
		rules := slices.Clone(allow)
		slices.Sort(rules)
		out[AnnotationAllow] = strings.Join(slices.Compact(rules), ",")
	}
	return out
}
