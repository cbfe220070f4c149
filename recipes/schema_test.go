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

// schema decodes the schema, and resolves one reference.
func schema(t *testing.T) (root object, resolve func(object) object) {
	t.Helper()
	if err := json.Unmarshal(recipes.Schema(), &root); err != nil {
		t.Fatal(err)
	}
	return root, func(s object) object {
		if ref, ok := s["$ref"].(string); ok {
			out := maps.Clone(root["$defs"].(object)[strings.TrimPrefix(ref, "#/$defs/")].(object))
			maps.Copy(out, s)
			return out
		}
		return s
	}
}

// The schema and the structs have the same fields, of the same types.
func TestSchemaIsTheStructs(t *testing.T) {
	t.Parallel()
	root, resolve := schema(t)
	var walk func(path string, typ reflect.Type, s object)
	walk = func(path string, typ reflect.Type, s object) {
		s = resolve(s)
		types, _ := s["type"].([]any)
		if one, ok := s["type"].(string); ok {
			types = []any{one}
		}
		want := map[reflect.Kind]string{
			reflect.Struct: "object", reflect.Map: "object", reflect.Slice: "array", reflect.String: "string", reflect.Int: "integer",
		}[typ.Kind()]
		switch typ {
		case reflect.TypeFor[bundle.Duration]():
			want = "string"
		case reflect.TypeFor[bundle.Strings]():
			if len(s["oneOf"].([]any)) != 2 {
				t.Errorf("%s: want a string or a list", path)
			}
			return
		}
		if !slices.Contains(types, any(want)) {
			t.Errorf("%s: type %v, want %s", path, types, want)
		}
		switch typ.Kind() {
		case reflect.Slice:
			walk(path+"[]", typ.Elem(), s["items"].(object))
		case reflect.Map:
			walk(path+".*", typ.Elem(), s["additionalProperties"].(object))
		case reflect.Struct:
			if s["additionalProperties"] != false {
				t.Errorf("%s: other fields are not refused", path)
			}
			properties := s["properties"].(object)
			var fields []string
			for f := range typ.Fields() {
				if !f.IsExported() {
					continue
				}
				name := f.Tag.Get("yaml")
				fields = append(fields, name)
				p, ok := properties[name].(object)
				if !ok {
					continue // said below
				}
				if text, _ := p["description"].(string); !strings.HasSuffix(text, ".") {
					t.Errorf("%s.%s: description %q", path, name, text)
				}
				walk(path+"."+name, f.Type, p)
			}
			if d := cmp.Diff(slices.Sorted(slices.Values(fields)), slices.Sorted(maps.Keys(properties))); d != "" {
				t.Errorf("%s: fields of the struct (-) and of the schema (+)\n%s", path, d)
			}
		default:
		}
	}
	walk("recipe", reflect.TypeFor[recipes.Recipe](), root)
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
		for kind, other := range map[string]any{"a list": []any{[]any{}}, "a map": object{"x": object{}}, "empty": ""} {
			if v == "" && other == "" {
				continue
			}
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
	if n < 300 {
		t.Errorf("%d alterations", n)
	}
}
