// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"testing"
)

func TestReplaceModel(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"model": "/m", "x": 1.50}`:                   `{"model": "a\"b", "x": 1.50}`,
		` { "id":1 , "model":"/m" } `:                  ` { "id":1 , "model":"a\"b" } `,
		`{"choices":[{"model":"/m"}]}`:                 `{"choices":[{"model":"/m"}]}`,
		`{"type":"x","response":{"model":"/m","b":2}}`: `{"type":"x","response":{"model":"a\"b","b":2}}`,
		`{"message":{"model":"/m"}}`:                   `{"message":{"model":"a\"b"}}`,
		`{"model":null}`:                               `{"model":null}`,
		`[DONE]`:                                       `[DONE]`,
		``:                                             ``,
	} {
		if got := string(replaceModel([]byte(in), `a"b`)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"x":                        "ai/x:latest",
		"docker.io/ai/X:V1":        "ai/x:V1",
		"index.docker.io/ai/x":     "ai/x:latest",
		"localhost:5000/a/b":       "localhost:5000/a/b:latest",
		"hf.co/org/Model":          "huggingface.co/org/model:latest",
		"registry.example/a/b:1.0": "registry.example/a/b:1.0",
	} {
		if got := canonical(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestNormaliseError(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"error": "no /dir/m here"}`:                         "no tiny here",
		`{"error": {"message": "too long", "code": 400}}`:     "too long",
		`{"error": {"message": "bad /dir/m", "type": "odd"}}`: "bad tiny",
		`plain words`: "plain words",
		``:            "the engine answered Not Found",
	} {
		if got := normaliseError(404, []byte(in), "/dir/m", "tiny"); got.Message != want || got.status != 404 || got.Type == "" {
			t.Errorf("%s: got %+v", in, got)
		}
	}
}
