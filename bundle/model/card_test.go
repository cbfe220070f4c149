// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

// yamlCard is the card as a reader of all of YAML gives it; ok is false for
// what is not YAML.
func yamlCard(front string) (c card, ok bool) {
	var all map[string]any
	if err := yaml.Load([]byte(front), &all); err != nil {
		return nil, false
	}
	c = card{}
	for _, key := range cardKeys() {
		value, there := all[key]
		if !there {
			continue
		}
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		for _, v := range list {
			text, _ := v.(string)
			c[key] = append(c[key], joined([]string{text}))
		}
	}
	return c, true
}

// Forms in which cards are written; all are read as YAML reads them.
func TestCardForms(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		" mit", "   mit  ", " mit # free", " 'mit'", ` "mit"`, " 'it''s' # so", ` "a # b" # c`, " a#b", " a:b", " http://x/y",
		"\n  mit", "\n\n  # why\n  mit", " long\n  words\n  go on", "\n  long\n  words",
		"\n- mit", "\n- mit\n- apache-2.0", "\n  - mit\n  - 'b'\n\n  - c # d", "\n# why\n- mit", "\n- long\n  words\n- b", "\n- 7\n- mit", "\n-\n- mit",
		" [mit]", " [ mit , b ]", " [mit, 'b, c', \"d]\"] # e", " [mit,\n  b]", " []", " [7, mit]", " [a b, c]", " [mit,]",
		" |\n  one\n  two", " >-\n  one\n  two", " |2-\n    one\n", " >\n  # one\n\n  two",
		` "a\\x41\"b\x41\u00e9\U0001F600\/\t\ b"`, ` "one\` + "\n" + `  \ two"`, " é", " 😀 smile", ` 'a\nb'`,
		" 7", " 0x1f", " 1_000", " 1e3", " .5", " .inf", " .nan", " true", " False", " null", " ~", "", " # none", " 2026-11-25", " 2026-11-25T10:00:00Z",
		" 01-ai/Yi-34B", " 3.2", " 3.2b", " -x", " ?x", " <x", " 1.2.3", " +1", " 12:30:00", " yes", " no", " on", " 0o17", " 0b11", " 08", " 0.", " 1.",
	} {
		for _, key := range cardKeys() {
			front := "tags:\n- x\n" + key + ":" + value + "\nlibrary_name: mlx"
			want, ok := yamlCard(front)
			if !ok {
				t.Errorf("%q is not YAML", front)
			}
			for _, front := range []string{front, front + "\n"} {
				got := readFront(front)
				if diff := cmp.Diff(want.said(), got.said()); diff != "" {
					t.Errorf("%q: %s", front, diff)
				}
			}
		}
	}
}

// said drops what is no word at the end of a list: whether nothing or no word
// is said makes no difference.
func (c card) said() card {
	out := card{}
	for key, list := range c {
		if strings.Join(list, "") != "" {
			out[key] = list
		}
	}
	return out
}

// Whatever else is in a card, a fact that is read is the fact that YAML gives.
func FuzzCard(f *testing.F) {
	for _, value := range []string{
		" &a x", " *a", " !!str 7", " {a: b}", " a: b", " - a", "\n- - a", "\n- a: b", "\n- a\nb", " [a", " [a] b", " [[a]]", " [a: b]", " [\"a\"b]", " 'a' b", " \"\\q\"", " @a", " `a", " %a", " ]", " 'a",
		"\n - a\n  - b", "\n  a\n b", "\n\ta", " a\n\n  b", " |\n", " ''", " \"\"", " a #b\n  c", " [a #b\n  ]", "\n- a\n # b\n- c", " ? a", " [?, -]", " |\n  a\n#b", " [a,,b]", " \"a\\0b\"", " 'a\n  #b'", " \"a\n\n  b\"",
	} {
		f.Add("license:" + value)
		f.Add("base_model:" + value + "\ndescription: x\nlicense: mit\nlicense: mit")
	}
	f.Fuzz(func(t *testing.T, front string) {
		want, ok := yamlCard(front)
		if !ok || strings.ContainsAny(front, "\r\t\u0085\u2028\u2029\ufeff") {
			return
		}
		for key, list := range readFront(front).said() {
			if diff := cmp.Diff(want[key], list); diff != "" {
				t.Errorf("%q: %s: %s", front, key, diff)
			}
		}
	})
}
