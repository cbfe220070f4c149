// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"path"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
)

// File is one file of a model, as its commit has it. Of a hub's file one of
// SHA256 and GitID is always known.
type File struct {
	Path   string // slash-separated, obeys bundle.CheckPath
	Size   int64  // bytes
	SHA256 string // hex, of files in LFS; "" = not known before it is read
	GitID  string // hex, the git blob id of files that are not in LFS
}

// Select parts files into those that make up a model and those that only lie
// beside it, as [Wanted] says. Both keep their order.
func Select(files []File) (wanted, left []File) {
	for _, f := range files {
		if Wanted(f.Path) {
			wanted = append(wanted, f)
		} else {
			left = append(left, f)
		}
	}
	return wanted, left
}

// Wanted reports whether a file is part of a model: what mlx-lm downloads, and
// the README and the licences at the top. Code is among it, for the lint to refuse
// by name. Hidden files are not.
func Wanted(p string) bool {
	for c := range strings.SplitSeq(p, "/") {
		if strings.HasPrefix(c, ".") {
			return false
		}
	}
	switch path.Ext(p) {
	case ".json", ".py", ".tiktoken", ".txt", ".jsonl", ".jinja":
		return true
	case ".safetensors":
		return strings.HasPrefix(p, "model") // of two sets of weights the engine reads this one
	}
	return p == "tokenizer.model" || p == "tiktoken.model" || isDocument(p)
}

// isDocument reports whether p is a README or a licence at the top.
func isDocument(p string) bool {
	kind := model.KindOf(p)
	return !strings.Contains(p, "/") && (kind == model.KindLicense || kind == model.KindDoc && strings.HasPrefix(strings.ToLower(p), "readme"))
}

// otherWeights are formats of weights that no MLX engine reads, by the patterns
// of the files that hold them.
var otherWeights = []struct {
	format   string
	patterns []string
}{
	{"GGUF", []string{"*.gguf"}},
	{"PyTorch", []string{"*model*.bin", "*.pt", "*.pth", "*.ckpt"}},
	{"NumPy", []string{"*.npz"}},
}

// checkWeights refuses a commit whose weights are all in other formats: it comes
// without them, so that nobody could say later what it was.
func checkWeights(about subject, files []File) error {
	if slices.ContainsFunc(files, func(f File) bool { return path.Ext(f.Path) == ".safetensors" }) {
		return nil
	}
	for _, other := range otherWeights {
		var found []File
		for _, f := range files {
			if slices.ContainsFunc(other.patterns, func(p string) bool {
				ok, _ := path.Match(p, strings.ToLower(path.Base(f.Path))) // the patterns are sound
				return ok
			}) {
				found = append(found, f)
			}
		}
		if len(found) > 0 {
			return &Error{Repo: about.repo, Revision: about.revision, Err: &said{
				"the repository has " + other.format + " weights (" + names(found) + ") and no safetensors", bundle.ErrInvalid,
				"look for a repository that has the model as MLX safetensors, for instance among those of hf.co/mlx-community",
			}}
		}
	}
	return nil
}

// find returns the file at p.
func find(files []File, p string) (File, bool) {
	i := slices.IndexFunc(files, func(f File) bool { return f.Path == p })
	if i < 0 {
		return File{}, false
	}
	return files[i], true
}
