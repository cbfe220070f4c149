// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

func put(t *testing.T, data, id, tag string, files ...string) string {
	t.Helper()
	x, err := parseIndex([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	out, err := x.put(digest.Digest(id), tag, files)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(out) {
		t.Fatalf("not JSON:\n%s", out)
	}
	return string(out)
}

// What DMR's encoder would write.
const one = `{
  "models": [
    {
      "id": "sha256:a",
      "tags": [
        "docker.io/ai/x:latest"
      ],
      "files": [
        "f1",
        "f2"
      ]
    }
  ]
}`

func TestPut(t *testing.T) {
	t.Parallel()
	const x, y = "docker.io/ai/x:latest", "docker.io/ai/y:latest"
	entryA := strings.TrimSuffix(strings.TrimPrefix(one, "{\n  \"models\": [\n"), "\n  ]\n}")
	tests := []struct{ name, in, id, tag, want string }{
		{"no file", ``, "sha256:a", x, one},
		{"null list", `{"models": null}`, "sha256:a", x, "{\"models\": [\n" + entryA + "\n  ]}"},
		{"no list", `{"v":1}`, "sha256:a", x, "{\n  \"models\": [\n" + entryA + "\n  ],\"v\":1}"},
		{"empty object", `{}`, "sha256:a", x, "{\n  \"models\": [\n" + entryA + "\n  ]\n}"},
		{"same again", one, "sha256:a", x, one},
		{
			"foreign bytes stay", `{"new":  {"k":1.50},"models":[ {"id":"sha256:b","tags":null,"files":null,"extra":[1, 2]} , 17],"z":null}`, "sha256:a", x,
			`{"new":  {"k":1.50},"models":[ {"id":"sha256:b","tags":null,"files":null,"extra":[1, 2]} , 17` + ",\n" + entryA + `],"z":null}`,
		},
		{
			"tag moves", `{"models":[{"id":"sha256:b","tags":["x","` + y + `"],"q":1}]}`, "sha256:a", x,
			"{\"models\":[{\"id\":\"sha256:b\",\"tags\":[\n        \"" + y + "\"\n      ],\"q\":1},\n" + entryA + "]}",
		},
		{
			"null tags and unknown fields of ours", `{"models":[{"id":"sha256:a","tags":null,"files":["f1","f2"],"q":1}]}`, "sha256:a", x,
			"{\"models\":[{\"id\":\"sha256:a\",\"tags\":[\n        \"" + x + "\"\n      ],\"files\":[\"f1\",\"f2\"],\"q\":1}]}",
		},
		{
			"fields missing", `{"models":[{"id":"sha256:a"}]}`, "sha256:a", x,
			"{\"models\":[{\"id\":\"sha256:a\",\n      \"files\": [\n        \"f1\",\n        \"f2\"\n      ],\n      \"tags\": [\n        \"" + x + "\"\n      ]}]}",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := put(t, tt.in, tt.id, tt.tag, "f1", "f2")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			parsed, err := parseIndex([]byte(got))
			if err != nil || !parsed.has(digest.Digest(tt.id), tt.tag) {
				t.Errorf("not found again: %v", err)
			}
		})
	}
}

func TestWithout(t *testing.T) {
	t.Parallel()
	gone := func(e entry) bool { return strings.HasPrefix(string(e.ID), "sha256:a") }
	for _, tt := range []struct{ in, want string }{
		{`{"models":[{"id":"sha256:a"}],"v":1}`, `{"models":[],"v":1}`},
		{`{"models":[ {"id":"sha256:a"} , {"id":"b", "q":1.50} ]}`, `{"models":[ {"id":"b", "q":1.50} ]}`},
		{`{"models":[{"id":"b"},{"id":"sha256:a"}, null]}`, `{"models":[{"id":"b"}, null]}`},
		{`{"models":[{"id":"sha256:a"},{"id":"sha256:a2"},7,{"id":"sha256:a"},{"id":"c"},{"ID":"sha256:a"}]}`, `{"models":[7,{"id":"c"}]}`},
	} {
		x, err := parseIndex([]byte(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, string(x.without(gone))); diff != "" {
			t.Error(diff)
		}
	}
}

func TestUntag(t *testing.T) {
	t.Parallel()
	x, err := parseIndex([]byte(`{"models":[{"tags":["x","y"],"q":1},{"tags":null},{"id":"c","tags":["docker.io/ai/x:latest","../z"]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := x.untag("docker.io/ai/x:latest")
	want := "{\"models\":[{\"tags\":[\n        \"y\"\n      ],\"q\":1},{\"tags\":null},{\"id\":\"c\",\"tags\":[\n        \"../z\"\n      ]}]}"
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestParseIndexRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{one[:40], `[]`, `null`, `{"models":{}}`, `{"models":"x"}`, `{"models":[]}{}`, `{"models":[],"models":[]}`, "{\"\xff\":1}", strings.Repeat("[", 100), strings.Repeat(" ", maxIndex+1)} {
		if _, err := parseIndex([]byte(in)); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%.40q: got %v", in, err)
		}
	}
}

func FuzzPut(f *testing.F) {
	f.Add(one)
	f.Add(`{"v":1,"models":[{"ID":"sha256:b","Tags":["x"]},null,{},[1]]}`)
	f.Fuzz(func(t *testing.T, data string) {
		x, err := parseIndex([]byte(data))
		if err != nil {
			return
		}
		out, err := x.put("sha256:a", "docker.io/ai/x:latest", []string{"f"})
		if err != nil {
			return
		}
		for _, e := range x.entries {
			id := e.ID
			left, err := parseIndex(x.without(func(e entry) bool { return e.ID == id }))
			if err != nil || slices.ContainsFunc(left.entries, func(e entry) bool { return e.ID == id }) {
				t.Fatalf("without %q: %v", id, err)
			}
		}
		again, err := parseIndex(out)
		if err != nil || !again.has("sha256:a", "docker.io/ai/x:latest") {
			t.Fatalf("%v:\n%s", err, out)
		}
	})
}
