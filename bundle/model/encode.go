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
	Descriptor modelPackDescriptor `json:"descriptor"`
	Config     modelPackFields     `json:"config"`
	ModelFS    modelPackFS         `json:"modelfs"`
}

type modelPackDescriptor struct {
	Description string   `json:"description,omitempty"`
	SourceURL   string   `json:"sourceURL,omitempty"`
	Revision    string   `json:"revision,omitempty"`
	Licenses    []string `json:"licenses,omitempty"`
}

type modelPackFields struct {
	Architecture string                 `json:"architecture,omitempty"`
	Format       string                 `json:"format,omitempty"`
	ParamSize    string                 `json:"paramSize,omitempty"`
	Precision    string                 `json:"precision,omitempty"`
	Quantization string                 `json:"quantization,omitempty"`
	Capabilities *modelPackCapabilities `json:"capabilities,omitempty"`
}

type modelPackCapabilities struct {
	Reasoning bool `json:"reasoning,omitempty"`
	ToolUsage bool `json:"toolUsage,omitempty"`
}

type modelPackFS struct {
	Type    string          `json:"type"`
	DiffIDs []digest.Digest `json:"diffIds"`
}

// write encodes config and manifest of the artifact's flavor.
func (a *Artifact) write() error {
	m, configType, artifactType := a.model, ConfigTypeModelPack, ArtifactTypeModelPack
	var config any = a.modelPackConfig()
	if m.Flavor == FlavorDocker {
		configType, artifactType, config = ConfigTypeDockerV02, "", a.dockerConfig()
	}
	var err error
	if a.config, err = json.Marshal(config); err != nil {
		return fmt.Errorf("model config: %w", err)
	}
	if len(a.config) > MaxConfig {
		return invalid("model config: %d bytes, more than %d", len(a.config), MaxConfig)
	}
	w := wireManifest{
		SchemaVersion: 2, MediaType: bundle.MediaTypeManifest, ArtifactType: artifactType,
		Config:      wireDescriptor{MediaType: configType, Size: int64(len(a.config)), Digest: digest.FromBytes(a.config)},
		Annotations: annotations(a.metadata, m.Facts, m.Allow),
	}
	for _, f := range m.Files {
		d := f.Descriptor
		w.Layers = append(w.Layers, wireDescriptor{MediaType: d.MediaType, Size: d.Size, Digest: d.Digest, Annotations: d.Annotations})
	}
	if a.manifest, err = json.Marshal(w); err != nil {
		return fmt.Errorf("model manifest: %w", err)
	}
	if len(a.manifest) > bundle.MaxManifest || len(w.Layers) > bundle.MaxLayers {
		return invalid("model manifest: %d files, %d bytes", len(w.Layers), len(a.manifest))
	}
	m.Root = bundle.DescriptorOf(bundle.MediaTypeManifest, a.manifest)
	m.Root.ArtifactType = artifactType
	return nil
}

func (a *Artifact) modelPackConfig() modelPackConfig {
	m, md := a.model, a.metadata
	c := modelPackConfig{
		Descriptor: modelPackDescriptor{Description: m.Description, SourceURL: m.Source, Revision: m.Revision},
		Config: modelPackFields{
			Architecture: m.Architecture, Format: m.Format, ParamSize: formatParamSize(md.Parameters),
			Precision: md.precision(), Quantization: m.Quantization,
		},
		ModelFS: modelPackFS{Type: "layers", DiffIDs: m.diffIDs()},
	}
	if m.License != "" {
		c.Descriptor.Licenses = []string{m.License}
	}
	if m.ToolParser != "" || m.ReasoningParser != "" {
		c.Config.Capabilities = &modelPackCapabilities{Reasoning: m.ReasoningParser != "", ToolUsage: m.ToolParser != ""}
	}
	return c
}

// diffIDs are the digests of the layers: raw layers have nothing to undo.
func (m *Model) diffIDs() []digest.Digest {
	ids := make([]digest.Digest, len(m.Files))
	for i, f := range m.Files {
		ids[i] = f.Descriptor.Digest
	}
	return ids
}

// annotations holds what the configs have no key for.
func annotations(m Metadata, facts Facts, allow []string) map[string]string {
	out := map[string]string{AnnotationParameters: strconv.FormatUint(m.Parameters, 10)}
	facts.annotate(out)
	if m.Context > 0 {
		out[AnnotationContext] = strconv.FormatInt(m.Context, 10)
	}
	if q := m.Quantization; q.Bits > 0 {
		out[AnnotationBits] = strconv.Itoa(q.Bits)
		if q.GroupSize > 0 {
			out[AnnotationGroupSize] = strconv.Itoa(q.GroupSize)
		}
		if q.Mode != "" {
			out[AnnotationMode] = q.Mode
		}
	}
	if m.ToolParser != "" {
		out[AnnotationToolParser] = m.ToolParser
	}
	if m.ReasoningParser != "" {
		out[AnnotationReasoningParser] = m.ReasoningParser
	}
	if len(allow) > 0 {
		out[AnnotationAllow] = strings.Join(allow, ",")
	}
	return out
}

// sortedRules is a list of rules as it is recorded.
func sortedRules(allow []string) []string {
	rules := slices.Clone(allow)
	slices.Sort(rules)
	return slices.Compact(rules)
}
