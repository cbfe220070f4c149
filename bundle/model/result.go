// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"
)

// CheckServable says why no engine may be started on a model: it holds code,
// weights that are not safetensors, or no config.json. The error wraps
// [bundle.ErrInvalid].
func (m *Model) CheckServable() error {
	if len(m.Archives) > 0 {
		return invalid("%d layers are archives; pull it into a directory and build it again: metalpack pull, metalpack model build", len(m.Archives))
	}
	config, weights := false, false
	for _, f := range m.Files {
		switch {
		case f.Hidden():
		case KindOf(f.Path) == KindCode || f.Kind == KindCode:
			return invalid("%q is code; a model that needs its own code does not run here", f.Path)
		case KindOf(f.Path) == KindWeight && extension(f.Path) != ".safetensors", f.Kind == KindWeight && extension(f.Path) != ".safetensors":
			return invalid("%q: only safetensors run here", f.Path)
		case KindOf(f.Path) == KindConfig && f.Descriptor.Size > MaxTokenizer:
			return invalid("%q: %d bytes, more than %d", f.Path, f.Descriptor.Size, MaxTokenizer)
		case KindOf(f.Path) == KindOther:
			return invalid("%q is not a kind of file that belongs to an MLX safetensors model", f.Path)
		}
		config = config || f.Path == "config.json"
		weights = weights || KindOf(f.Path) == KindWeight
	}
	if !config || !weights {
		return invalid("no config.json or no weights: nothing that an engine can load")
	}
	return nil
}

// MarshalJSON gives results a shape of their own, independent of the manifest.
func (m *Model) MarshalJSON() ([]byte, error) {
	type fileJSON struct {
		Path   string        `json:"path,omitempty"`
		Kind   Kind          `json:"kind,omitempty"`
		Size   int64         `json:"size"`
		Digest digest.Digest `json:"digest"`
	}
	out := struct {
		Digest       digest.Digest `json:"digest"`
		Flavor       Flavor        `json:"flavor"`
		Format       string        `json:"format,omitempty"`
		Architecture string        `json:"architecture,omitempty"`
		Parameters   string        `json:"parameters,omitempty"`
		Quantization string        `json:"quantization,omitempty"`
		Context      int64         `json:"context,omitempty"`
		Facts
		ToolParser      string     `json:"toolParser,omitempty"`
		ReasoningParser string     `json:"reasoningParser,omitempty"`
		Allow           []string   `json:"allow,omitempty"`
		Size            int64      `json:"size"`
		Files           []fileJSON `json:"files"`
		Archives        []fileJSON `json:"archives,omitempty"`
	}{
		m.Root.Digest, m.Flavor, m.Format, m.Architecture, m.Parameters, m.Quantization, m.Context, m.Facts,
		m.ToolParser, m.ReasoningParser, m.Allow, m.Size(),
		[]fileJSON{},
		nil,
	}
	for _, f := range m.Files {
		out.Files = append(out.Files, fileJSON{f.Path, f.Kind, f.Descriptor.Size, f.Descriptor.Digest})
	}
	for _, a := range m.Archives {
		out.Archives = append(out.Archives, fileJSON{"", a.Kind, a.Descriptor.Size, a.Descriptor.Digest})
	}
	return json.Marshal(out)
}
