// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

func TestNormalize(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"x":                           "docker.io/ai/x:latest",
		"X:Q4_K":                      "docker.io/ai/x:Q4_K",
		"ai/x":                        "docker.io/ai/x:latest",
		"docker.io/ai/x:1":            "docker.io/ai/x:1",
		"index.docker.io/ai/x":        "docker.io/ai/x:latest",
		"docker://localhost:5000/a/b": "localhost:5000/a/b:latest",
		"localhost:5000/a/b:2":        "localhost:5000/a/b:2",
		"hf.co/Org/Model-4bit":        "huggingface.co/org/model-4bit:latest",
		"huggingface.co/org/m:v":      "huggingface.co/org/m:v",
		"ai/x@sha256:" + digest.FromString("x").Encoded(): "docker.io/ai/x:latest",
	} {
		if got, err := Normalize(in); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
	if got, err := Normalize(" x "); err != nil || got != "docker.io/ai/x:latest" {
		t.Errorf("blanks around a name: %q, %v", got, err)
	}
	for _, in := range []string{"", ":x", "a b", "../x", "docker.io@evil.com/x", "ai/x:../y", "docker.io%2fevil/x"} {
		if got, err := Normalize(in); err == nil {
			t.Errorf("%q: got %q and no error", in, got)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	id := digest.FromString("m")
	names := Names(Model{ID: id, Tags: []string{"docker.io/ai/x:latest", "huggingface.co/o/m:v", "x"}})
	want := []string{
		"docker.io/ai/x:latest", "docker.io/ai/x", "ai/x:latest", "ai/x", "x:latest", "x",
		"huggingface.co/o/m:v", "hf.co/o/m:v", id.String(), id.Encoded(), id.Encoded()[:12],
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %q", names)
	}
	for _, name := range names[:8] {
		full, err := Normalize(name)
		if err != nil || full != names[0] && full != names[6] {
			t.Errorf("%q is not a name of the model: %q, %v", name, full, err)
		}
	}
}

func TestNear(t *testing.T) {
	t.Parallel()
	models := []Model{
		{Tags: []string{"docker.io/ai/smollm2:135m", "docker.io/ai/smollm2:latest"}},
		{Tags: []string{"huggingface.co/org/qwen3-coder-4bit:latest"}},
		{},
		{Tags: []string{"", "/", ":"}},
	}
	for word, want := range map[string][]string{
		"ai/smollm2:360m":  models[0].Tags,
		"smolm2":           models[0].Tags,
		"x/Smollm":         models[0].Tags,
		"hf.co/o/qwen3":    models[1].Tags,
		"qwen4-coder-4bit": models[1].Tags,
		"llama":            nil,
		"xyz":              nil,
		"":                 nil,
		":":                nil,
	} {
		if diff := cmp.Diff(want, Near(models, word)); diff != "" {
			t.Errorf("%q: %s", word, diff)
		}
	}
}
