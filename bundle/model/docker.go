// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/opencontainers/go-digest"
)

// Media types of the layers of Docker models.
const (
	dockerPrefix   = "application/vnd.docker.ai."
	dockerWeight   = dockerPrefix + "safetensors"
	dockerFile     = dockerPrefix + "model.file"
	dockerTemplate = dockerPrefix + "chat.template.jinja"
	dockerLicense  = dockerPrefix + "license"

	// Read only: engines for MLX models have no use for them.
	dockerGGUF      = dockerPrefix + "gguf.v3"
	dockerDDUF      = dockerPrefix + "dduf"
	dockerProjector = dockerPrefix + "mmproj"
)

// dockerConfig is the config of a Docker model, v0.2, in the key order that
// Docker Model Runner writes. Its names must never be those of ModelPack: DMR
// tells the two apart by the shape of this JSON.
type dockerConfig struct {
	Config     dockerFields `json:"config"`
	Descriptor struct{}     `json:"descriptor"`
	RootFS     dockerFS     `json:"rootfs"`
}

type dockerFields struct {
	Format       string            `json:"format,omitempty"`
	Quantization string            `json:"quantization,omitempty"`
	Parameters   string            `json:"parameters,omitempty"`
	Architecture string            `json:"architecture,omitempty"`
	Size         string            `json:"size,omitempty"`
	Safetensors  map[string]string `json:"safetensors,omitempty"`
	ContextSize  int64             `json:"context_size,omitempty"`
}

type dockerFS struct {
	Type    string          `json:"type"`
	DiffIDs []digest.Digest `json:"diff_ids"`
}

func (a *Artifact) dockerConfig() dockerConfig {
	m, md := a.model, a.metadata
	safetensors := map[string]string{}
	maps.Copy(safetensors, md.Header)
	safetensors["tensor_count"] = strconv.Itoa(md.Tensors) // whatever a header says
	return dockerConfig{
		Config: dockerFields{
			Format: m.Format, Quantization: m.Quantization, Parameters: m.Parameters, Architecture: m.Architecture,
			Size: formatSize(md.WeightSize), Safetensors: safetensors, ContextSize: md.Context,
		},
		RootFS: dockerFS{Type: "rootfs", DiffIDs: m.diffIDs()},
	}
}

// formatSize prints bytes as Docker Model Runner does: "498.00B", "4.08GB".
func formatSize(n int64) string {
	f := float64(n)
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if f < 1000 {
			return fmt.Sprintf("%.2f%s", f, unit)
		}
		f /= 1000
	}
	return fmt.Sprintf("%.2fTB", f)
}

// layerType is the media type of a file. In ModelPack documents are what a
// run-time never needs, since some readers leave that kind out. In Docker's
// form a template is one at the top that is Jinja: DMR hands it to the engine
// as it is.
func layerType(flavor Flavor, f *file) string {
	if flavor == FlavorDocker {
		switch {
		case f.kind == KindWeight:
			return dockerWeight
		case f.kind == KindTemplate && f.path == baseName(f.path):
			return dockerTemplate
		case f.kind == KindLicense:
			return dockerLicense
		}
		return dockerFile
	}
	switch f.kind {
	case KindWeight:
		return layerWeight
	case KindDoc, KindLicense:
		return layerDoc
	case KindCode:
		return layerCode
	case KindDataset:
		return layerDataset
	default:
		return layerConfig
	}
}
