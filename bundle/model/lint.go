// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// Severity says whether a finding refuses the model.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Lint reports what is wrong with the model at an origin, errors and warnings.
// Of the weights it reads the headers, and whole only files that may be equal
// to another. The error is that of reading, or [bundle.ErrInvalid] for an
// option that makes no sense.
func Lint(ctx context.Context, origin Origin, o Options) ([]Finding, error) {
	s, err := newScan(ctx, origin, o)
	if err != nil {
		return nil, err
	}
	if err := s.hash(ctx, s.twins()); err != nil {
		return nil, err
	}
	s.lintEqual()
	return s.findings, nil
}

// The rules of [Lint]. Those in the first group cannot be allowed: what breaks
// them is not a model that could be packed.
const (
	RuleConfig  = "config"  // config.json is missing or unreadable
	RuleWeights = "weights" // no safetensors, or unreadable ones
	RuleName    = "name"    // a path that is not the same file everywhere
	RuleSymlink = "symlink"
	RulePointer = "lfs-pointer" // a file of Git LFS that was not fetched

	RuleTokenizer    = "tokenizer"
	RuleChatTemplate = "chat-template" // none
	RuleTemplates    = "templates"     // two *.jinja at the top, or one that is too large
	RuleCode         = "code"
	RuleModelFile    = "model-file" // config.json names code to load
	RuleAutoMap      = "auto-map"
	RulePickle       = "pickle"
	RuleFileType     = "file-type"
	RuleEqualFiles   = "equal-files"
	RuleShards       = "shards"     // shards and their index disagree
	RuleTotal        = "total-size" // the index announces other bytes than there are
	RuleNested       = "nested-weights"
	RuleSize         = "layer-size"
	RuleDType        = "dtype"        // a type of tensor that MLX does not read
	RuleQuantization = "quantization" // config.json contradicts the shapes
	RuleForm         = "form"         // a manifest that other readers do not understand
)

// Finding is one thing that is wrong with a model, and what to do about it.
type Finding struct {
	Rule     string   `json:"rule"`
	File     string   `json:"file,omitempty"`
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Fix      string   `json:"fix"`
}

// String is one line for a human.
func (f Finding) String() string {
	s := f.Rule + ": "
	if f.File != "" {
		s += fmt.Sprintf("%q: ", f.File)
	}
	if f.Fix == "" {
		return s + f.Message
	}
	return s + f.Message + " (" + f.Fix + ")"
}

// maxListed is how many findings of one rule a human is shown.
const maxListed = 10

// Brief is what a human is shown of findings: where a rule has more than ten of
// a severity, one that counts the others stands for them.
func Brief(findings []Finding) []Finding {
	type class struct {
		rule     string
		severity Severity
	}
	count := map[class]int{}
	for _, f := range findings {
		count[class{f.Rule, f.Severity}]++
	}
	var out []Finding
	shown := map[class]int{}
	for _, f := range findings {
		c := class{f.Rule, f.Severity}
		switch shown[c]++; {
		case shown[c] <= maxListed:
			out = append(out, f)
		case shown[c] == maxListed+1:
			out = append(out, Finding{Rule: f.Rule, Severity: f.Severity, Message: fmt.Sprintf("and %d more", count[c]-maxListed)})
		}
	}
	return out
}

// rank puts first what makes all else beside the point: a directory without
// weights or config.json is no model, whatever its files are.
func (f Finding) rank() int {
	switch {
	case f.File == "" && f.Rule == RuleWeights:
		return 0
	case f.File == "" && f.Rule == RuleConfig:
		return 1
	}
	return 2
}

// LintError refuses a model. It wraps [bundle.ErrInvalid].
type LintError struct {
	Name     string    // of the origin
	Findings []Finding // errors only
}

// Error lists the findings, one a line, in brief.
func (e *LintError) Error() string {
	shown := Brief(e.Findings)
	lines := make([]string, len(shown))
	for i, f := range shown {
		lines[i] = f.String()
	}
	count := "1 lint error"
	if len(e.Findings) != 1 {
		count = fmt.Sprintf("%d lint errors", len(e.Findings))
	}
	return fmt.Sprintf("model %s: %s:\n  %s", e.Name, count, strings.Join(lines, "\n  "))
}

// Unwrap returns [bundle.ErrInvalid].
func (e *LintError) Unwrap() error { return bundle.ErrInvalid }

// Allowable lists the rules that Options.Allow may name.
func Allowable() []string {
	return []string{
		RuleTokenizer, RuleChatTemplate, RuleTemplates, RuleCode, RuleModelFile, RuleAutoMap, RulePickle,
		RuleFileType, RuleEqualFiles, RuleShards, RuleTotal, RuleNested, RuleSize, RuleDType, RuleQuantization, RuleForm,
	}
}

// CheckRules refuses names that Options.Allow may not have, lest a typing error
// allows nothing without a word. The error wraps [bundle.ErrInvalid].
func CheckRules(allow []string) error {
	for _, rule := range allow {
		switch {
		case slices.Contains(Allowable(), rule):
		case slices.Contains([]string{RuleConfig, RuleWeights, RuleName, RuleSymlink, RulePointer}, rule):
			return invalid("lint rule %q cannot be allowed; those that can: %s", rule, strings.Join(Allowable(), ", "))
		default:
			return invalid("no lint rule %q; those that can be allowed: %s", rule, strings.Join(Allowable(), ", "))
		}
	}
	return nil
}

// lintFiles judges the files by their names.
func (s *scan) lintFiles(ctx context.Context) {
	for _, f := range s.files {
		s.lintFile(ctx, f)
	}
	templates := s.templates()
	for _, f := range templates[min(1, len(templates)):] {
		s.find(RuleTemplates, SeverityError, f.path, fmt.Sprintf("a second template beside %q; Docker Model Runner rebuilds such a model at every load", templates[0].path),
			fmt.Sprintf("--exclude %q", f.path))
	}
	if s.foreign {
		return
	}
	if !s.hasTokenizer() {
		s.find(RuleTokenizer, SeverityError, "", "there is no tokenizer; requests fail", "add tokenizer.json; a model of speech or images alone has none and is not served here")
	}
	if s.template == "" {
		s.find(RuleChatTemplate, SeverityWarning, "", "there is no chat template; chat requests fail", "add chat_template.jinja, or serve completions only")
	}
}

// hasTokenizer reports whether there is a file at the top that engines take a
// tokenizer from.
func (s *scan) hasTokenizer() bool {
	return s.has("tokenizer.json", "vocab.json", "vocab.txt", "tekken.json") || slices.ContainsFunc(s.files, func(f *file) bool {
		return f.atTop() && slices.Contains([]string{".model", ".tiktoken"}, extension(f.path))
	})
}

// MaxTokenizer is the cap on tokenizer.json and its like, in bytes: several times
// what a vocabulary of 250,000 words with its merges takes.
const MaxTokenizer = 100_000_000

// largeLayer is the size over which a public registry was seen to refuse a
// layer.
const largeLayer = 10_000_000_000

func (s *scan) lintFile(ctx context.Context, f *file) {
	ext := extension(f.path)
	exclude := fmt.Sprintf("--exclude %q", f.path)
	switch {
	case s.pointer(ctx, f):
		s.find(RulePointer, SeverityError, f.path, "a pointer of Git LFS, which stands where the file should be", "get the files with 'git lfs pull', or download the model again")
	case f.kind == KindCode:
		if s.count(ext) > 1 {
			exclude = fmt.Sprintf("--exclude %q", "*"+ext)
		}
		s.find(RuleCode, SeverityError, f.path, "code in a model; it would run on every user's machine", exclude)
	case slices.Contains(pickleExtensions, ext):
		s.find(RulePickle, SeverityError, f.path, "a format that can run code or that no MLX engine reads", exclude+", or convert it to safetensors")
	case f.kind == KindWeight && ext != ".safetensors":
		s.find(RuleFileType, SeverityError, f.path, "weights that no MLX engine reads; only safetensors run here", exclude+" if there are safetensors too, or convert the model to MLX safetensors")
	case f.kind == KindOther:
		s.find(RuleFileType, SeverityError, f.path, "not a kind of file that belongs to an MLX safetensors model", exclude)
	case f.kind == KindWeight && !f.atTop():
		s.find(RuleNested, SeverityWarning, f.path, s.nested(f), exclude+", or move the file up")
	}
	if f.kind == KindConfig && f.size > MaxTokenizer {
		s.find(RuleTokenizer, SeverityError, f.path, fmt.Sprintf("%d bytes, more than %d; no engine should have to parse that", f.size, MaxTokenizer), "put a sound file there")
	}
	if f.size > largeLayer {
		s.find(RuleSize, SeverityWarning, f.path, fmt.Sprintf("%d bytes; some registries refuse layers over 10 GB", f.size), "split the weights into more shards")
	}
}

// Every pointer of Git LFS begins with lfsMark and is not longer than maxPointer.
const (
	lfsMark    = "version https://git-lfs.github.com/spec/"
	maxPointer = 200
)

// pointer reports whether a file is what Git LFS leaves in its place.
func (s *scan) pointer(ctx context.Context, f *file) bool {
	if s.failed != nil || f.size > maxPointer || f.size < int64(len(lfsMark)) || f.kind == KindDoc || f.kind == KindLicense {
		return false
	}
	if !f.read {
		if _, err := s.readAll(ctx, f); err != nil {
			s.fail(f, err)
		}
	}
	return f.pointer
}

// count says how many files have an extension.
func (s *scan) count(ext string) (n int) {
	for _, f := range s.files {
		if extension(f.path) == ext {
			n++
		}
	}
	return n
}

// nested says what becomes of weights that lie below config.json.
func (s *scan) nested(f *file) string {
	const message = "weights below the directory of config.json are not loaded"
	first := slices.IndexFunc(s.files, func(f *file) bool { return f.kind == KindWeight })
	if s.files[first] == f { // the layers have this order
		return message + "; Docker Model Runner takes the directory of the first weights for the model's, and finds no config.json there"
	}
	return message
}

// lintEqual finds files of one content. Files without a digest are equal to no
// other file.
func (s *scan) lintEqual() {
	first := map[string]string{}
	for _, f := range s.files {
		if f.digest == "" {
			continue
		}
		if other, ok := first[f.digest.String()]; ok {
			s.find(RuleEqualFiles, SeverityError, f.path, fmt.Sprintf("the same bytes as %q; pulls of such a model collide in Docker Model Runner", other),
				fmt.Sprintf("--exclude %q", f.path))
			continue
		}
		first[f.digest.String()] = f.path
	}
}

// found reports whether a rule has a finding.
func (s *scan) found(rule string) bool {
	return slices.ContainsFunc(s.findings, func(f Finding) bool { return f.Rule == rule })
}

// find records a finding unless its rule is allowed.
func (s *scan) find(rule string, severity Severity, file, message, fix string) {
	if !slices.Contains(s.allow, rule) {
		message = strings.TrimSuffix(message, ": "+bundle.ErrInvalid.Error()) // goes on, with the fix
		s.findings = append(s.findings, Finding{Rule: rule, File: file, Severity: severity, Message: message, Fix: fix})
	}
}
