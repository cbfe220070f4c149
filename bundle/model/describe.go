// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
)

// autoMapFiles are the files whose auto_map makes engines load code.
var autoMapFiles = []string{
	"config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json",
	"video_preprocessor_config.json", "image_processor_config.json", "feature_extractor_config.json", "generation_config.json",
}

// readConfigs reads the small files that say what the model is.
func (s *scan) readConfigs(ctx context.Context) {
	s.config = &Config{}
	if s.lookup("config.json") == nil {
		what, fix := s.otherKind()
		if s.foreign = what != ""; !s.foreign {
			what, fix = "no engine can tell what this is", "add the config.json that belongs to the weights"
		}
		s.find(RuleConfig, SeverityError, "", "there is no config.json; "+what, fix)
	}
	for _, name := range autoMapFiles {
		rule := RuleConfig
		if name == "tokenizer_config.json" {
			rule = RuleTokenizer
		}
		o, ok := s.readObject(ctx, name, rule)
		if !ok {
			continue
		}
		switch name {
		case "config.json":
			s.config = configOf(o)
		case "tokenizer_config.json":
			s.template = templateOf(o)
		}
		s.lintAutoMap(name, autoMap(o))
	}
	if s.config.ModelFile != "" {
		s.find(RuleModelFile, SeverityError, "config.json",
			fmt.Sprintf("model_file names code: %q; a model that needs its own code does not run here, since that code would run on every user's machine", clip(s.config.ModelFile)),
			"convert the model for an engine that knows its architecture, without the key")
	}
}

// otherKind says what files without a config.json are, if they are known not to
// be a language model, and what to do with them.
func (s *scan) otherKind() (what, fix string) {
	switch {
	case s.has("adapter_config.json", "adapters.safetensors", "adapter_model.safetensors"):
		return "this is an adapter, which runs only in the model that it was trained on", "fuse the two with mlx_lm.fuse, and take the result"
	case s.has("model_index.json"):
		return "this is a pipeline that makes images, and only language models are served here", "run it with a program that makes images"
	case s.count(".gguf") > 0 && s.count(".safetensors") == 0:
		return "this is a GGUF model, and only MLX safetensors run here", "look for a conversion of the model to MLX, or make one with mlx_lm.convert"
	}
	return "", ""
}

// lintAutoMap judges the code that a file names. Code that is not there is
// never loaded, and most such models run without it.
func (s *scan) lintAutoMap(name string, modules []string) {
	for _, m := range modules {
		module, _, _ := strings.Cut(m, ".")
		if s.lookup(module+".py") != nil {
			s.find(RuleAutoMap, SeverityError, name, fmt.Sprintf("auto_map names code that is there: %q; a model that needs its own code does not run here, since that code would run on every user's machine", clip(m)),
				fmt.Sprintf("--exclude %q, if the engine knows the architecture without it", module+".py"))
			return
		}
	}
	if len(modules) > 0 {
		s.find(RuleAutoMap, SeverityWarning, name, fmt.Sprintf("auto_map names code: %q; it is never loaded", clip(modules[0])), "remove the key, if the engine knows the architecture without it")
	}
}

// templates are the files of chat templates at the top; the one by whose name
// engines look is the first.
func (s *scan) templates() []*file {
	var out []*file
	for _, f := range s.files {
		switch {
		case f.kind != KindTemplate || !f.atTop():
		case f.path == "chat_template.jinja":
			out = append([]*file{f}, out...)
		default:
			out = append(out, f)
		}
	}
	return out
}

// readTemplate finds the chat template: a file of its own goes before the key
// in tokenizer_config.json, as engines have it.
func (s *scan) readTemplate(ctx context.Context) {
	if all := s.templates(); len(all) > 0 {
		if data, ok := s.read(ctx, all[0].path, RuleTemplates, MaxTemplate); ok {
			s.template = string(data)
		}
		return
	}
	if s.template == "" {
		if o, ok := s.readObject(ctx, "chat_template.json", RuleTemplates); ok {
			s.template = templateOf(o)
		}
	}
	if len(s.template) > MaxTemplate {
		s.find(RuleTemplates, SeverityError, "", fmt.Sprintf("a chat template of %d bytes, more than %d", len(s.template), MaxTemplate), "put a sound template there")
	}
}

// templateOf returns the chat_template of a file: a text, or several by name.
func templateOf(o object) string {
	if one, ok := get[string](o, "chat_template"); ok {
		return one
	}
	var all strings.Builder
	many, _ := get[[]object](o, "chat_template")
	for _, t := range many {
		text, _ := get[string](t, "template")
		all.WriteString(text)
	}
	return all.String()
}

// LintArtifact reports what is wrong with a model that lies at src already:
// its files, as [Lint] does, and its manifest. Only the manifest, the config,
// small files and headers are read. What the author allowed is found all the
// same. Errors: those of src and [Parse].
func LintArtifact(ctx context.Context, src bundle.Source, root bundle.Descriptor, o Options) ([]Finding, error) {
	m, raw, err := Read(ctx, src, root)
	if err != nil {
		return nil, err
	}
	manifest, err := bundle.ParseManifest(raw.Manifest)
	if err != nil {
		return nil, err
	}
	s := &scan{allow: o.Allow}
	s.lintManifest(m, manifest)
	s.lintTitles(manifest.Layers)
	if len(m.Archives) > 0 { // their files are not at hand
		return s.findings, CheckRules(o.Allow)
	}
	files, err := Lint(ctx, Stored(src, m), o)
	return append(s.findings, files...), err
}

// lintManifest judges the form of an artifact, by what other readers make of
// it.
func (s *scan) lintManifest(m *Model, manifest *ocispec.Manifest) {
	configType := manifest.Config.MediaType
	if strings.HasPrefix(configType, legacyPrefix) {
		s.find(RuleForm, SeverityWarning, "", fmt.Sprintf("the older name %q; Docker Model Runner refuses it", configType), "build it again with metalpack model build")
	}
	if m.Flavor == FlavorDockerV01 {
		s.find(RuleForm, SeverityWarning, "", "Docker's form v0.1; names are lost, and modctl and oras make no model of it", "build it again with metalpack model build")
	}
	if m.Flavor == FlavorModelPack && manifest.ArtifactType == "" {
		s.find(RuleForm, SeverityWarning, "", "there is no artifactType; Docker Model Runner drops config.json and the tokenizer of such a model", "build it again with metalpack model build")
	}
	for _, f := range m.Files {
		if f.Descriptor.MediaType == dockerTemplate && extension(f.Path) != ".jinja" {
			s.find(RuleForm, SeverityWarning, f.Path, "its layer is that of a chat template, and it is not Jinja; Docker Model Runner hands it to the engine, where chat requests fail", "build it again with metalpack model build")
		}
	}
	if len(m.Archives) > 0 {
		s.find(RuleForm, SeverityError, "", fmt.Sprintf("%d layers are archives; Docker Model Runner writes them as they are, and no engine finds the files", len(m.Archives)),
			"pull it into a directory and build it again: metalpack pull, metalpack model build")
	}
}

// lintTitles judges by which names oras writes the files.
func (s *scan) lintTitles(layers []bundle.Descriptor) {
	for _, d := range layers {
		p, title := d.Annotations[bundle.AnnotationFilepath], d.Annotations[bundle.AnnotationTitle]
		switch {
		case p == "" || p == title:
			continue
		case title == "":
			s.find(RuleForm, SeverityWarning, p, "there is no title; oras leaves the file out", "build it again with metalpack model build")
		default:
			s.find(RuleForm, SeverityWarning, p, fmt.Sprintf("the title is %q; oras writes the file there", clip(title)), "build it again with metalpack model build")
		}
		return // one is enough: others will be alike
	}
}
