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
	for name, def := range schema(t).Defs {
		for field := range def.Properties {
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
	{"interpreter-waive", reflect.TypeFor[recipes.InterpreterWaiver]()},
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
	root := schema(t)
	old, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	text := string(old)
	// What a recipe needs that extends none.
	alone := map[string][]string{"recipe": root.Then.Required, "target": root.Then.Properties["targets"].Items.Required}
	for _, table := range tables {
		def := root.Defs[table.name]
		if table.name == "recipe" {
			def = root
		}
		before, rest, found := strings.Cut(text, "\n### "+table.name+"\n")
		i := strings.Index(rest, "\n##")
		if !found || i < 0 {
			t.Fatalf("%s has no section %q", docs, table.name)
		}
		text = before + "\n### " + table.name + "\n\n" + fieldTable(root, table.typ, def, slices.Concat(def.Required, alone[table.name])) + rest[i:]
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
func fieldTable(root *node, typ reflect.Type, def *node, required []string) string {
	var b strings.Builder
	b.WriteString("| field | value | |\n|---|---|---|\n")
	for f := range typ.Fields() {
		name := f.Tag.Get("yaml")
		p, ok := def.Properties[name]
		if !ok {
			continue // not exported; TestSchemaIsTheStructs knows
		}
		label := "`" + name + "`"
		if slices.Contains(required, name) {
			label = "**" + label + "**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", label, value(root, p), p.Description)
	}
	return b.String()
}

// value says what a field holds.
func value(root, p *node) string {
	ref := p.name()
	p = p.resolve(root)
	var words []string
	for _, e := range p.Enum {
		if e != "" {
			words = append(words, fmt.Sprintf("`%v`", e))
		}
	}
	switch {
	case len(words) > 0:
		return strings.Join(words, ", ")
	case p.Properties != nil:
		return "[" + ref + "](#" + ref + ")"
	case slices.Contains(p.Type, "array"):
		return "list of " + value(root, p.Items)
	case slices.Contains(p.Type, "object"):
		return "map of " + value(root, p.Others)
	case p.OneOf != nil:
		return "string, or list of them"
	case slices.Contains(p.Type, "integer"):
		return "number"
	case slices.Contains([]string{"sha256", "url", "package", "duration"}, ref):
		return ref
	}
	return "string"
}
