// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

func TestParseCard(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, card string
		want       Facts
	}{
		{"usual", "---\nlicense: apache-2.0\nbase_model: Qwen/Qwen3-8B\nlibrary_name: mlx\n---\n# x\n", Facts{License: "Apache-2.0", BaseModel: "Qwen/Qwen3-8B"}},
		{"lists", "---\r\nlicense:\r\n- mit\r\nbase_model: [a/b, c/d]\r\n---\r\n", Facts{License: "MIT", BaseModel: "a/b"}},
		{"two licences, a mark at the top", "\ufeff---\nlicense: [mit, unknown, cc-by-4.0, mit]\n---\n", Facts{License: "MIT AND CC-BY-4.0"}},
		{"unknown", "---\nlicense: unknown\n---\n", Facts{}},
		{"bomb", bomb(), Facts{}},
		{"a licence of its own", "---\nlicense: llama3.2\n---\n", Facts{License: "LicenseRef-llama3.2"}},
		{"other", "---\nlicense: other\nlicense_name: qwen research!\n---\n", Facts{License: "LicenseRef-qwen-research"}},
		{"other, without a name", "---\nlicense: other\n---\n", Facts{}},
		{"only is not said", "---\nlicense: gpl-3.0\n---\n", Facts{License: "GPL-3.0-only"}},
		{"two lines", "---\ndescription: |\n  one\n  two\n---\n", Facts{Description: "one two"}},
		{"escapes", "---\ndescription: \"a\\e[31mb\"\n---\n", Facts{Description: "a[31mb"}},
		{"wrong types", "---\nlicense: {a: b}\nbase_model: 7\n---\n", Facts{}},
		{"no front matter", "# license: mit\n", Facts{}},
		{"not closed", "---\nlicense: mit\n", Facts{}},
		{"not YAML", "---\nlicense: [\n---\n", Facts{}},
		{"too long", "---\nlicense: mit\nx: " + strings.Repeat("y", maxFront) + "\n---\n", Facts{}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, parseCard([]byte(tt.card))); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// bomb is a card of 400 bytes that would have billions of words.
func bomb() string {
	var b strings.Builder
	b.WriteString("---\na: &a [x,x,x,x,x,x,x,x,x]\n")
	for c := 'b'; c < 'k'; c++ {
		fmt.Fprintf(&b, "%c: &%c [%s]\n", c, c, strings.Repeat("*"+string(c-1)+",", 9))
	}
	b.WriteString("license: *j\n---\n")
	return b.String()
}

func TestFactsCheck(t *testing.T) {
	t.Parallel()
	got, err := Facts{License: "Apache-2.0 OR MIT", Source: "hf.co/org/name"}.check()
	if err != nil || got.Source != "https://huggingface.co/org/name" || got.License != "Apache-2.0 OR MIT" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []Facts{{Source: "org/name"}, {Source: "ftp://x/y"}, {Source: "https://u:p@x/y"}, {Revision: "a\nb"}, {License: strings.Repeat("x", maxFact+1)}} {
		if _, err := bad.check(); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func FuzzParseCard(f *testing.F) {
	f.Add([]byte("---\nlicense: [a, b]\nbase_model: &x {a: *x}\n---\n"))
	f.Add([]byte("---\ndescription: \"\\e\\0\"\nlicense: other\nlicense_name: \"\"\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := parseCard(data)
		if _, err := got.check(); err != nil {
			t.Errorf("%+v: %v", got, err)
		}
	})
}

// What the annotations of another's artifact say is taken as far as it goes.
func TestFactsTamed(t *testing.T) {
	t.Parallel()
	got := Facts{License: "MIT\n", Description: "a\x1b[1m\nb", Source: "git@example.com:x", Revision: strings.Repeat("x", maxFact+1)}.tamed()
	if diff := cmp.Diff(Facts{License: "MIT", Description: "a[1m b"}, got); diff != "" {
		t.Error(diff)
	}
}

// What a model states goes into both formats and comes back from them.
func TestFactsRoundTrip(t *testing.T) {
	t.Parallel()
	dir := writeModel(t, t.TempDir(), map[string]string{
		"README.md":           "---\nlicense: apache-2.0\nbase_model: meta-llama/Llama-3.2-1B\n---\n",
		"chat_template.jinja": "<tool_call>{% if add_generation_prompt %}<think>{{ enable_thinking }}",
	})
	want := Facts{License: "Apache-2.0", BaseModel: "other/base", Source: "https://huggingface.co/o/n", Revision: strings.Repeat("a", 40)}
	a := build(t, dir, Options{Facts: Facts{BaseModel: want.BaseModel, Source: "hf.co/o/n", Revision: want.Revision}, Allow: []string{RuleSize, RuleCode, RuleSize}})
	for _, flavor := range []Flavor{FlavorModelPack, FlavorDocker} {
		one, err := a.In(flavor)
		if err != nil {
			t.Fatal(err)
		}
		m, _, err := Read(t.Context(), one, one.Root())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, m.Facts); diff != "" || m.Flavor != flavor {
			t.Errorf("%s: %s", m.Flavor, diff)
		}
		if m.ToolParser != "hermes" || m.ReasoningParser != "qwen3" || !cmp.Equal(m.Allow, []string{RuleCode, RuleSize}) || m.Context != 512 || m.Quantization != "4bit-g64" {
			t.Errorf("%+v", m)
		}
	}
}
