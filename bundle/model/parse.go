// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
)

// MaxConfig is the cap on the config blob of a model manifest, in bytes.
const MaxConfig = 4 << 20

// Flavor says by whose rules a model manifest is written.
type Flavor string

// The flavors that are read; ModelPack is the one that is written.
const (
	FlavorModelPack Flavor = "modelpack"
	FlavorDocker    Flavor = "docker"      // v0.2: one layer per file, named by annotation
	FlavorDockerV01 Flavor = "docker-v0.1" // names fixed by kind
)

// Model is a model artifact as its manifest and config describe it. The
// strings are the author's words, for display alone.
type Model struct {
	Facts
	Root            bundle.Descriptor
	Flavor          Flavor
	Format          string // safetensors, gguf, …
	Architecture    string
	Parameters      string // 1.24B
	Quantization    string
	Context         int64    // tokens; 0 if it is not stated
	ToolParser      string   // "" = not known
	ReasoningParser string   // "" = not known, or none
	Allow           []string // lint rules that the author allowed
	Files           []File
	Archives        []Archive // layers that hold files instead of being one
}

// File is one file of a model: one raw layer.
type File struct {
	Path       string // see bundle.CheckPath
	Kind       Kind
	Descriptor bundle.Descriptor
}

// Hidden reports whether the file's name begins with a dot. Engines are not
// shown such files.
func (f File) Hidden() bool { return strings.HasPrefix(path.Base(f.Path), ".") }

// Size returns the bytes of all layers; equal ones count once, as they are
// stored.
func (m *Model) Size() int64 {
	var n int64
	seen := map[digest.Digest]bool{}
	add := func(d bundle.Descriptor) {
		if !seen[d.Digest] {
			n += d.Size
		}
		seen[d.Digest] = true
	}
	for _, f := range m.Files {
		add(f.Descriptor)
	}
	for _, a := range m.Archives {
		add(a.Descriptor)
	}
	return n
}

// Raw is the manifest and the config of a model, byte for byte.
type Raw struct {
	Manifest []byte
	Config   []byte
}

// Read fetches manifest and config of the model that root describes, verifies
// and parses them. Errors: those of src, and of [Parse].
func Read(ctx context.Context, src bundle.Source, root bundle.Descriptor) (*Model, Raw, error) {
	var raw Raw
	if root.MediaType == bundle.MediaTypeIndex {
		return nil, raw, invalid("%s: an environment's index, want the manifest of a model", root.Digest)
	}
	var err error
	if raw.Manifest, err = src.Manifest(ctx, root); err != nil {
		return nil, raw, err
	}
	manifest, err := bundle.ParseManifest(raw.Manifest)
	if err != nil {
		return nil, raw, err
	}
	if raw.Config, err = bundle.FetchBlob(ctx, src, manifest.Config, MaxConfig); err != nil {
		return nil, raw, fmt.Errorf("model config: %w", err)
	}
	m, err := Parse(manifest, raw.Config)
	if err != nil {
		return nil, raw, err
	}
	m.Root = root
	return m, raw, nil
}

// Parse reads a model manifest that bundle.ParseManifest has checked, with its
// config: ModelPack under its two names, Docker v0.1 and v0.2. Every path is
// valid, and no two layers land on one file. Errors wrap [bundle.ErrInvalid].
func Parse(manifest *ocispec.Manifest, config []byte) (*Model, error) {
	m := &Model{}
	switch canonical(manifest.Config.MediaType) {
	case ConfigTypeModelPack:
		m.Flavor = FlavorModelPack
		if t := canonical(manifest.ArtifactType); t != ArtifactTypeModelPack && t != "" {
			return nil, invalid("model manifest: artifactType %q", manifest.ArtifactType)
		}
	case ConfigTypeDockerV02:
		m.Flavor = FlavorDocker
	case ConfigTypeDockerV01:
		m.Flavor = FlavorDockerV01
	default:
		return nil, invalid("not a model: config type %q", manifest.Config.MediaType)
	}
	ids, err := m.readConfig(manifest, config)
	if err != nil {
		return nil, err
	}
	if len(ids) > 0 && len(ids) != len(manifest.Layers) {
		return nil, invalid("model config: %d diff ids for %d layers", len(ids), len(manifest.Layers))
	}
	if err := m.readLayers(manifest.Layers, ids); err != nil {
		return nil, err
	}
	return m, m.checkPaths()
}

// canonical maps the older ModelPack names to the present ones.
func canonical(mediaType string) string {
	if rest, ok := strings.CutPrefix(mediaType, legacyPrefix); ok {
		return modelPackPrefix + rest
	}
	return mediaType
}

// foreignConfig is the union of the config shapes that are read.
type foreignConfig struct {
	Config struct {
		Format       string `json:"format"`
		Architecture string `json:"architecture"`
		Quantization string `json:"quantization"`
		Parameters   string `json:"parameters"`   // Docker
		ParamSize    string `json:"paramSize"`    // ModelPack
		ContextSize  int64  `json:"context_size"` // Docker
	} `json:"config"`
	Descriptor struct { // ModelPack; a description of Docker's has a time alone
		Description string   `json:"description"`
		SourceURL   string   `json:"sourceURL"`
		Revision    string   `json:"revision"`
		Licenses    []string `json:"licenses"`
	} `json:"descriptor"`
	RootFS struct {
		DiffIDs []digest.Digest `json:"diff_ids"`
	} `json:"rootfs"`
	ModelFS struct {
		DiffIDs []digest.Digest `json:"diffIds"`
		Older   []digest.Digest `json:"diff_ids"`
	} `json:"modelfs"`
}

// readConfig fills in the metadata and returns the diff ids, if there are any.
func (m *Model) readConfig(manifest *ocispec.Manifest, config []byte) ([]digest.Digest, error) {
	var c foreignConfig
	if len(config) > MaxConfig {
		return nil, invalid("model config: %d bytes, more than %d", len(config), MaxConfig)
	}
	if err := bundle.DecodeStrict(config, &c); err != nil {
		return nil, fmt.Errorf("model config: %w", err)
	}
	m.Format, m.Architecture, m.Quantization = c.Config.Format, c.Config.Architecture, c.Config.Quantization
	m.Parameters, m.Context = cmp.Or(c.Config.Parameters, c.Config.ParamSize), max(c.Config.ContextSize, 0)
	m.readAnnotations(manifest.Annotations)
	if m.License == "" {
		m.License = strings.Join(c.Descriptor.Licenses, " AND ")
	}
	m.Facts = m.or(Facts{Description: c.Descriptor.Description, Source: c.Descriptor.SourceURL, Revision: c.Descriptor.Revision})
	for _, ids := range [][]digest.Digest{c.RootFS.DiffIDs, c.ModelFS.DiffIDs, c.ModelFS.Older} {
		if len(ids) > 0 {
			return ids, nil
		}
	}
	return nil, nil
}

// readAnnotations takes over what has no key in the configs.
func (m *Model) readAnnotations(a map[string]string) {
	if n, err := strconv.ParseUint(a[AnnotationParameters], 10, 63); err == nil {
		m.Parameters = FormatCount(n)
	}
	if n, err := strconv.ParseInt(a[AnnotationContext], 10, 32); err == nil && n > 0 {
		m.Context = n
	}
	m.ToolParser, m.ReasoningParser = a[AnnotationToolParser], a[AnnotationReasoningParser]
	if rules := a[AnnotationAllow]; rules != "" {
		m.Allow = strings.Split(rules, ",")
	}
	m.Facts = factsOf(a)
}

func (m *Model) readLayers(layers []bundle.Descriptor, ids []digest.Digest) error {
	fixed := newFixedNames(layers)
	for i, d := range layers {
		if a, ok := archiveOf(canonical(d.MediaType)); ok {
			a.Descriptor = d
			if len(ids) > 0 {
				a.DiffID = ids[i]
			}
			if err := a.check(); err != nil {
				return err
			}
			m.Archives = append(m.Archives, a)
			continue
		}
		if len(ids) > 0 && ids[i] != d.Digest {
			return invalid("layer %s: its diff id is %s; layers of a model are not compressed", d.Digest, clip(string(ids[i])))
		}
		kind, err := layerKind(canonical(d.MediaType))
		if err != nil {
			return fmt.Errorf("layer %s: %w", d.Digest, err)
		}
		p := cmp.Or(d.Annotations[bundle.AnnotationFilepath], d.Annotations[legacyFilepath])
		if m.Flavor == FlavorDockerV01 && p == "" {
			if kind == KindLicense {
				continue // such a licence has no name and is not unpacked
			}
			p = fixed.next(d.MediaType)
		}
		if p == "" {
			return invalid("layer %s (%s): no path; want the annotation %s", d.Digest, d.MediaType, bundle.AnnotationFilepath)
		}
		if named := KindOf(p); kind == KindOther || kind == KindConfig || (kind == KindDoc && named == KindLicense) {
			kind = named // the media type says little, the name says more
		}
		m.Files = append(m.Files, File{Path: p, Kind: kind, Descriptor: d})
	}
	return nil
}

// layerKind maps a media type to a kind.
func layerKind(mediaType string) (Kind, error) {
	switch mediaType {
	case layerWeight, modelPackPrefix + "weight.v1.safetensors", modelPackPrefix + "weight.v1.gguf",
		dockerWeight, dockerGGUF, dockerDDUF:
		return KindWeight, nil
	case layerConfig, dockerFile:
		return KindConfig, nil
	case layerDoc:
		return KindDoc, nil
	case layerCode:
		return KindCode, nil
	case layerDataset:
		return KindDataset, nil
	case dockerTemplate:
		return KindTemplate, nil
	case dockerLicense:
		return KindLicense, nil
	case dockerProjector:
		return KindOther, nil
	}
	return "", invalid("media type %q is not that of a model's layer", clip(mediaType))
}

// fixedNames are the paths that Docker's v0.1 gives layers without annotation,
// by their media type.
type fixedNames struct{ all, used map[string]int }

func newFixedNames(layers []bundle.Descriptor) fixedNames {
	f := fixedNames{map[string]int{}, map[string]int{}}
	for _, d := range layers {
		f.all[d.MediaType]++
	}
	return f
}

// next is the path of the next layer of a media type; "" if it has none.
func (f fixedNames) next(mediaType string) string {
	ext := map[string]string{dockerWeight: ".safetensors", dockerGGUF: ".gguf", dockerDDUF: ".dduf"}[mediaType]
	switch {
	case mediaType == dockerTemplate:
		return "template.jinja"
	case mediaType == dockerProjector:
		return "model.mmproj"
	case ext == "":
		return ""
	case f.all[mediaType] == 1:
		return "model" + ext
	}
	f.used[mediaType]++
	return fmt.Sprintf("model-%05d-of-%05d%s", f.used[mediaType], f.all[mediaType], ext)
}

func (m *Model) checkPaths() error {
	entries := make([]bundle.TreeEntry, len(m.Files))
	for i, f := range m.Files {
		if err := bundle.CheckPath(f.Path); err != nil {
			return fmt.Errorf("layer %s: %w", f.Descriptor.Digest, err)
		}
		entries[i].Path = f.Path
	}
	if err := bundle.CheckCollisions(entries); err != nil {
		return fmt.Errorf("model manifest: %w", err)
	}
	if len(m.Files)+len(m.Archives) == 0 {
		return invalid("model manifest: no files")
	}
	return nil
}
