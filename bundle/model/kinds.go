// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// Media types of model manifests, in the ModelPack names. The older names
// differ in the prefix alone and are read too.
const (
	ArtifactTypeModelPack = modelPackPrefix + "manifest.v1+json"
	ConfigTypeModelPack   = modelPackPrefix + "config.v1+json"
	ConfigTypeDockerV01   = "application/vnd.docker.ai.model.config.v0.1+json"
	ConfigTypeDockerV02   = "application/vnd.docker.ai.model.config.v0.2+json"

	layerWeight  = modelPackPrefix + "weight.v1.raw"
	layerConfig  = modelPackPrefix + "weight.config.v1.raw"
	layerDoc     = modelPackPrefix + "doc.v1.raw"
	layerCode    = modelPackPrefix + "code.v1.raw"
	layerDataset = modelPackPrefix + "dataset.v1.raw"

	modelPackPrefix = "application/vnd.cncf.model."
	legacyPrefix    = "application/vnd.cnai.model."
	legacyFilepath  = "org.cnai.model.filepath"
)

// Annotations of our own on model manifests; the ModelPack config has no place
// for what they say.
const (
	AnnotationContext    = "io.metalpack.model.context"    // context length in tokens
	AnnotationParameters = "io.metalpack.model.parameters" // exact count
	AnnotationBits       = "io.metalpack.model.bits"       // bits per packed weight
	AnnotationGroupSize  = "io.metalpack.model.group-size" // weights per scale
	AnnotationMode       = "io.metalpack.model.mode"       // how weights are packed, unless it is affine
	AnnotationAllow      = "io.metalpack.model.allow"      // lint rules that were allowed, comma-separated

	// What the chat template asks of the engine, by the engine's own names.
	AnnotationToolParser      = "io.metalpack.model.tool-parser"
	AnnotationReasoningParser = "io.metalpack.model.reasoning-parser"
)

// Kind says what a file of a model is for.
type Kind string

// The kinds of file.
const (
	KindWeight   Kind = "weight"
	KindConfig   Kind = "config" // config.json, tokenizer, index: what an engine reads beside the weights
	KindTemplate Kind = "template"
	KindDoc      Kind = "doc"
	KindLicense  Kind = "license"
	KindCode     Kind = "code"
	KindDataset  Kind = "dataset"
	KindOther    Kind = "other"
)

// KindOf classifies a file by its name alone.
func KindOf(p string) Kind {
	name := strings.ToLower(path.Base(p))
	ext := path.Ext(name)
	switch {
	case slices.Contains(weightExtensions, ext):
		return KindWeight
	case slices.Contains(codeExtensions, ext):
		return KindCode
	case ext == ".jinja":
		return KindTemplate
	case isLicense(name):
		return KindLicense
	case slices.Contains(docExtensions, ext), strings.HasPrefix(name, "readme"):
		return KindDoc
	case slices.Contains(configExtensions, ext), olderTokenizer.MatchString(name):
		return KindConfig
	}
	return KindOther
}

// The extensions a model may or must not hold. Everything that is in none of
// these lists is refused too: what an engine might run is not known to us.
var (
	weightExtensions = []string{".safetensors", ".gguf", ".dduf"}
	codeExtensions   = []string{".py", ".pyc", ".pyd", ".pyx", ".so", ".dylib", ".dll", ".exe", ".sh", ".js", ".metallib", ".metal", ".ipynb", ".lua", ".rb", ".pl", ".bat", ".wasm"}
	pickleExtensions = []string{".pkl", ".pickle", ".bin", ".pt", ".pth", ".ckpt", ".npy", ".npz", ".joblib", ".h5", ".msgpack"}
	docExtensions    = []string{".md", ".rst", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".cff", ".bib"}
	configExtensions = []string{".json", ".jsonl", ".txt", ".model", ".tiktoken", ".vocab", ".yaml", ".yml"}
)

// olderTokenizer is what Mistral calls the versions of its tokenizer.model.
var olderTokenizer = regexp.MustCompile(`^tokenizer\.model\.v[0-9a-z]+$`)

// isLicense reports whether a lower-case name is a licence's: LICENSE-2.0, or
// MODEL_LICENSE, THIRD_PARTY_NOTICES.txt.
func isLicense(name string) bool {
	text := slices.Contains([]string{"", ".txt", ".md", ".rst", ".pdf"}, path.Ext(name))
	for _, w := range []string{"license", "licence", "copying", "notice", "use_policy"} {
		if strings.HasPrefix(name, w) || (text && strings.Contains(name, w)) {
			return true
		}
	}
	return false
}

func baseName(p string) string { return path.Base(p) }
