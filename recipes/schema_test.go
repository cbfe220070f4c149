// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/recipes"
)

type object = map[string]any

// node is what the tests look at in a JSON Schema.
type node struct {
	Ref         string           `json:"$ref"`
	Defs        map[string]*node `json:"$defs"`
	Description string           `json:"description"`
	Type        words            `json:"type"`
	Enum        []any            `json:"enum"`
	OneOf       []*node          `json:"oneOf"`
	Items       *node            `json:"items"`
	Properties  map[string]*node `json:"properties"`
	Required    []string         `json:"required"`
	Others      *node            `json:"additionalProperties"`
	Then        *node            `json:"then"`

	never bool // the schema false
}

func (n *node) UnmarshalJSON(data []byte) error {
	if n.never = string(data) == "false"; n.never {
		return nil
	}
	type plain node
	return json.Unmarshal(data, (*plain)(n))
}

// words is a list that may be one word.
type words []string

func (w *words) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(w))
}

func schema(t *testing.T) *node {
	t.Helper()
	root := new(node)
	if err := json.Unmarshal(recipes.Schema(), root); err != nil {
		t.Fatal(err)
	}
	return root
}

// name is the definition that n refers to, and resolve returns that.
func (n *node) name() string { return strings.TrimPrefix(n.Ref, "#/$defs/") }

func (n *node) resolve(root *node) *node {
	if n.Ref == "" {
		return n
	}
	return root.Defs[n.name()]
}

// The schema and the structs have the same fields, of the same types.
func TestSchemaIsTheStructs(t *testing.T) {
	t.Parallel()
	root := schema(t)
	sameType(t, root, "recipe", reflect.TypeFor[recipes.Recipe](), root)
}

func sameType(t *testing.T, root *node, path string, typ reflect.Type, n *node) {
	t.Helper()
	if n == nil {
		t.Errorf("%s: not in the schema", path)
		return
	}
	n = n.resolve(root)
	want := map[reflect.Kind]string{
		reflect.Struct: "object", reflect.Map: "object", reflect.Slice: "array", reflect.String: "string", reflect.Int: "integer",
	}[typ.Kind()]
	switch typ {
	case reflect.TypeFor[bundle.Duration]():
		want = "string"
	case reflect.TypeFor[bundle.Strings]():
		if len(n.OneOf) != 2 || !slices.Contains(n.OneOf[0].Type, "string") || !slices.Contains(n.OneOf[1].Type, "array") {
			t.Errorf("%s: want a string or a list", path)
		}
		return
	}
	if !slices.Contains(n.Type, want) {
		t.Errorf("%s: type %v, want %s", path, n.Type, want)
	}
	switch typ.Kind() {
	case reflect.Slice:
		sameType(t, root, path+"[]", typ.Elem(), n.Items)
	case reflect.Map:
		sameType(t, root, path+".*", typ.Elem(), n.Others)
	case reflect.Struct:
		if n.Others == nil || !n.Others.never {
			t.Errorf("%s: other fields are not refused", path)
		}
		var fields []string
		for f := range typ.Fields() {
			name := f.Tag.Get("yaml")
			if !f.IsExported() {
				continue
			}
			fields = append(fields, name)
			if p := n.Properties[name]; p != nil && !strings.HasSuffix(p.Description, ".") {
				t.Errorf("%s.%s: description %q", path, name, p.Description)
			}
			sameType(t, root, path+"."+name, f.Type, n.Properties[name])
		}
		if d := cmp.Diff(slices.Sorted(slices.Values(fields)), slices.Sorted(maps.Keys(n.Properties))); d != "" {
			t.Errorf("%s: fields of the struct (-) and of the schema (+)\n%s", path, d)
		}
	default:
	}
}

// validator compiles the schema; it returns what is wrong with a document.
func validator(t *testing.T) func(doc any) error {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertVocabs()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(recipes.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(doc any) error {
		text, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return err
		}
		return compiled.Validate(v)
	}
}

func parse(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Load(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Every recipe of this repository, as it is written and as it is merged.
func TestSchemaAcceptsRecipes(t *testing.T) {
	t.Parallel()
	check := validator(t)
	dirs, err := filepath.Glob("testdata/*")
	own, err2 := filepath.Glob("*/recipe.yaml")
	if err != nil || err2 != nil || len(dirs) == 0 || len(own) == 0 {
		t.Fatal(dirs, err, own, err2)
	}
	for _, path := range own {
		dirs = append(dirs, "./"+filepath.Dir(path))
	}
	dirs = append(dirs, "../internal/demo/recipe")
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, recipes.FileName))
		if err != nil {
			t.Fatal(err)
		}
		if _, at, ok := strings.Cut(string(text), "\n# yaml-language-server: $schema="); ok {
			at, _, _ = strings.Cut(at, "\n")
			if _, err := os.Stat(filepath.Join(dir, at)); err != nil {
				t.Error(err)
			}
		} else {
			t.Errorf("%s does not tell editors its schema", dir)
		}
		merged, err := load(t, dir).Merged()
		if err != nil {
			t.Fatal(err)
		}
		for what, text := range map[string][]byte{"written": text, "merged": merged} {
			if err := check(parse(t, text)); err != nil {
				t.Errorf("%s, as it is %s: %v", dir, what, err)
			}
		}
	}
}

// alterations yields a document in which, each time, one value is missing or
// of another kind.
func alterations(doc any, yield func(what string, doc any)) {
	root := doc
	var walk func(path string, v any, replace func(any))
	each := func(path string, v any, replace func(any)) {
		others := object{"a list": []any{[]any{}}}
		switch v.(type) {
		case []any:
			others = object{"a map": object{"x": object{}}}
		case string:
			others["empty"] = ""
		}
		for kind, other := range others {
			replace(other)
			yield(path+" "+kind, root)
			replace(v)
		}
		walk(path, v, replace)
	}
	walk = func(path string, v any, _ func(any)) {
		switch v := v.(type) {
		case object:
			for key, value := range v {
				delete(v, key)
				yield(path+"."+key+" missing", root)
				v[key] = value
				each(path+"."+key, value, func(x any) { v[key] = x })
			}
			v["colour"] = "red"
			yield(path+".colour there", root)
			delete(v, "colour")
		case []any:
			for i, value := range v {
				each(path+"["+strconv.Itoa(i)+"]", value, func(x any) { v[i] = x })
			}
		}
	}
	walk("", doc, nil)
}

// What the schema refuses, Load refuses, and the other way round but for what
// no schema can say.
func TestSchemaAgreesWithLoad(t *testing.T) {
	t.Parallel()
	check := validator(t)
	onlyLoad := []string{
		".launch.server missing",       // a target's env names it
		".launch missing",              // likewise
		".launch empty",                // likewise
		".launch.server.names missing", // then {model.names} is wanted
		".launch.server.names empty",   // likewise
		".launch.server.args[1] empty", // {model.dir}
		".launch.server.args[5] empty", // {port}
		".targets[1].env a map",        // likewise
	}
	// Fields in which nothing and "" are the same to Load.
	emptyIsUnset := func(what string) bool { return strings.HasSuffix(what, " empty") }
	doc := parse(t, examples(t)[0])
	n, dir := 0, t.TempDir()
	alterations(doc, func(what string, doc any) {
		n++
		text, err := yaml.Dump(doc)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, recipes.FileName), text, 0o644); err != nil {
			t.Fatal(err)
		}
		_, loadErr := recipes.Load(dir)
		schemaErr := check(doc)
		switch {
		case schemaErr != nil && loadErr == nil && !emptyIsUnset(what):
			t.Errorf("%s: the schema refuses it, Load does not: %v", what, schemaErr)
		case schemaErr == nil && loadErr != nil && !slices.Contains(onlyLoad, what):
			t.Errorf("%s: Load refuses it, the schema does not: %v", what, loadErr)
		}
	})
	if n < 200 {
		t.Errorf("%d alterations", n)
	}
}
