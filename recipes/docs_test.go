// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes_test

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/recipes"
)

var update = flag.Bool("update", false, "write the tables of docs/recipe.md anew from schema.json")

const docs = "../docs/recipe.md"

var fenced = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// examples are the recipes in the documentation, the one that says all first.
func examples(t *testing.T) (all [][]byte) {
	t.Helper()
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range fenced.FindAllSubmatch(text, -1) {
		if strings.Contains(string(m[1]), "version: 1\n") {
			all = append(all, m[1])
		}
	}
	if len(all) != 2 {
		t.Fatalf("%d examples", len(all))
	}
	return all
}

func TestDocumentedExamples(t *testing.T) {
	t.Parallel()
	check := validator(t)
	for _, text := range examples(t) {
		load(t, write(t, map[string]string{recipes.FileName: string(text)}))
		if err := check(parse(t, text)); err != nil {
			t.Error(err)
		}
	}
	full := string(examples(t)[0])
	root, _ := schema(t)
	for name, def := range root["$defs"].(object) {
		properties, _ := def.(object)["properties"].(object)
		for field := range properties {
			if !regexp.MustCompile(`[\s{]` + field + `:`).MatchString(full) {
				t.Errorf("the example does not use %s of %s", field, name)
			}
		}
	}
}

// tables are the objects of a recipe, as the documentation has them.
var tables = []struct {
	name string
	typ  reflect.Type
}{
	{"recipe", reflect.TypeFor[recipes.Recipe]()},
	{"target", reflect.TypeFor[recipes.Target]()},
	{"interpreter", reflect.TypeFor[recipes.Interpreter]()},
	{"wheels", reflect.TypeFor[recipes.Wheels]()},
	{"winner", reflect.TypeFor[recipes.Winner]()},
	{"waive", reflect.TypeFor[recipes.Waiver]()},
	{"exclude", reflect.TypeFor[recipes.Exclude]()},
	{"substitute", reflect.TypeFor[recipes.Substitute]()},
	{"extra", reflect.TypeFor[recipes.Extra]()},
	{"compression", reflect.TypeFor[recipes.Compression]()},
	{"profile", reflect.TypeFor[bundle.Profile]()},
	{"failure", reflect.TypeFor[bundle.KnownFailure]()},
	{"probe", reflect.TypeFor[bundle.Probe]()},
}

// The tables of the documentation are the schema's own words.
func TestDocumentedFields(t *testing.T) {
	t.Parallel()
	root, resolve := schema(t)
	old, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	text := string(old)
	// What a recipe needs that extends none.
	alone := root["then"].(object)
	target := alone["properties"].(object)["targets"].(object)["items"].(object)
	for _, table := range tables {
		def := root
		required, _ := alone["required"].([]any)
		if table.name != "recipe" {
			def = root["$defs"].(object)[table.name].(object)
			required = nil
		}
		if table.name == "target" {
			required = target["required"].([]any)
		}
		if always, ok := def["required"].([]any); ok {
			required = slices.Concat(always, required)
		}
		before, rest, found := strings.Cut(text, "\n### "+table.name+"\n")
		i := strings.Index(rest, "\n##")
		if !found || i < 0 {
			t.Fatalf("%s has no section %q", docs, table.name)
		}
		text = before + "\n### " + table.name + "\n\n" + fieldTable(table.typ, def["properties"].(object), required, resolve) + rest[i:]
	}
	if text == string(old) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what schema.json says: go test ./recipes -run TestDocumentedFields -update", docs)
	}
	if err := os.WriteFile(docs, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fieldTable is one object as a table, in the order of the struct.
func fieldTable(typ reflect.Type, properties object, required []any, resolve func(object) object) string {
	var b strings.Builder
	b.WriteString("| field | value | |\n|---|---|---|\n")
	for f := range typ.Fields() {
		name := f.Tag.Get("yaml")
		p, ok := properties[name].(object)
		if !ok {
			continue // not exported; TestSchemaIsTheStructs knows
		}
		label := "`" + name + "`"
		if slices.Contains(required, any(name)) {
			label = "**" + label + "**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", label, value(p, resolve), p["description"])
	}
	return b.String()
}

// value says what a field holds.
func value(p object, resolve func(object) object) string {
	ref, _ := p["$ref"].(string)
	ref = strings.TrimPrefix(ref, "#/$defs/")
	p = resolve(p)
	if enum, ok := p["enum"].([]any); ok {
		var words []string
		for _, e := range enum {
			if e != "" {
				words = append(words, fmt.Sprintf("`%v`", e))
			}
		}
		return strings.Join(words, ", ")
	}
	switch {
	case p["properties"] != nil:
		return "[" + ref + "](#" + ref + ")"
	case p["type"] == "array":
		return "list of " + value(p["items"].(object), resolve)
	case p["type"] == "object":
		return "map of " + value(p["additionalProperties"].(object), resolve)
	case p["oneOf"] != nil:
		return "string, or list of them"
	case p["type"] == "integer":
		return "number"
	case slices.Contains([]string{"sha256", "url", "package", "duration"}, ref):
		return ref
	}
	return "string"
}
