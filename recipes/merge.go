// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/metalpack/metalpack/bundle"
)

// merger lays one mapping over another and notes where each value of the
// result was written.
type merger struct{ base, child, out *spot }

// in is the merger of the mapping under a key, which is another in the child
// where that is a list.
func (m merger) in(key, childKey string) merger {
	n := merger{base: m.base.at(key), child: m.child.at(childKey)}
	if place := cmp.Or(n.child, n.base); place != nil {
		n.out = &spot{in: place.in, line: place.line, column: place.column}
	}
	m.out.set(key, n.out)
	return n
}

// take notes that the value under a key is the child's, or the one below.
func (m merger) take(key string, inherited bool) {
	from := m.child
	if inherited {
		from = m.base
	}
	m.out.set(key, from.at(key))
}

// merge lays a recipe over the one it extends.
func merge(base, child *Recipe) *Recipe {
	out := *child
	out.Extends = ""
	doc := merger{base: base.at, child: child.at}
	if child.at != nil {
		doc.out = &spot{in: child.at.in, line: child.at.line, column: child.at.column}
	}
	out.at = doc.out
	first(doc, "version", &out.Version, base.Version)
	first(doc, "name", &out.Name, base.Name)
	first(doc, "release", &out.Release, base.Release)
	first(doc, "requirements", &out.Requirements, base.Requirements)
	out.mergeTargets(doc.in("targets", "targets"), base.Targets, child.Targets)
	m, w, b := doc.in("wheels", "wheels"), &out.Wheels, base.Wheels
	firstList(m, "winner", &w.Winner, b.Winner)
	firstList(m, "waive", &w.Waive, b.Waive)
	firstList(m, "exclude", &w.Exclude, b.Exclude)
	firstList(m, "substitute", &w.Substitute, b.Substitute)
	firstList(m, "extra", &w.Extra, b.Extra)
	firstList(doc, "strip", &out.Strip, base.Strip)
	firstList(doc, "probes", &out.Probes, base.Probes)
	m = doc.in("compression", "compression")
	firstList(m, "codecs", &out.Compression.Codecs, base.Compression.Codecs)
	first(m, "gzip", &out.Compression.Gzip, base.Compression.Gzip)
	first(m, "zstd", &out.Compression.Zstd, base.Compression.Zstd)
	out.Launch = mergeMap(doc.in("launch", "launch"), base.Launch, child.Launch)
	out.chain = append(slices.Clone(child.chain), base.chain...)
	out.origin = mergeMap(merger{}, base.origin, child.origin)
	return &out
}

// mergeTargets replaces field by field where the platform is the same; new
// platforms come last, and so do those that a recipe has twice, which Validate
// refuses.
func (r *Recipe) mergeTargets(all merger, base, child []Target) {
	out := slices.Clone(base)
	for i := range base {
		all.out.set(strconv.Itoa(i), all.base.at(strconv.Itoa(i)))
	}
	for j, c := range child {
		same := func(t Target) bool { return t.Platform == c.Platform }
		i := slices.IndexFunc(base, same)
		if i < 0 || slices.ContainsFunc(child[:j], same) {
			all.out.set(strconv.Itoa(len(out)), all.child.at(strconv.Itoa(j)))
			out = append(out, c)
			continue
		}
		b, m := out[i], all.in(strconv.Itoa(i), strconv.Itoa(j))
		first(m, "platform", &c.Platform, b.Platform)
		first(m, "os", &c.OS, b.OS)
		first(m, "glibc", &c.Glibc, b.Glibc)
		first(m, "lock", &c.Lock, b.Lock)
		c.replaces = b.replaces || !c.Interpreter.isZero() && !b.Interpreter.isZero() && !c.Interpreter.is(b.Interpreter)
		m.take("interpreter", c.Interpreter.isZero())
		if c.Interpreter.isZero() {
			c.Interpreter = b.Interpreter
		}
		vars := m.in("env", "env")
		env := maps.Clone(b.Env)
		for name := range b.Env {
			vars.take(name, true)
		}
		for name := range c.Env {
			if env == nil {
				env = make(map[string]map[string]string)
			}
			env[name] = mergeMap(vars.in(name, name), b.Env[name], c.Env[name])
		}
		c.Env = env
		out[i] = c
	}
	r.Targets = out
}

// first keeps v, or takes the value below when v is not set.
func first[T comparable](m merger, key string, v *T, below T) {
	var zero T
	m.take(key, *v == zero)
	*v = cmp.Or(*v, below)
}

// firstList is first for lists: an empty list that is written replaces too.
func firstList[T any](m merger, key string, v *[]T, below []T) {
	m.take(key, *v == nil)
	if *v == nil {
		*v = below
	}
}

// mergeMap lays one map over another, key by key.
func mergeMap[V any](m merger, base, child map[string]V) map[string]V {
	for key := range base {
		m.take(key, true)
	}
	for key := range child {
		m.take(key, false)
	}
	if base == nil {
		return child
	}
	out := maps.Clone(base)
	maps.Copy(out, child)
	return out
}

// setDefaults fills what a recipe need not say.
func (r *Recipe) setDefaults() {
	if len(r.Compression.Codecs) == 0 {
		r.Compression.Codecs = []string{CodecGzip, CodecZstd}
	}
	r.Compression.Zstd = cmp.Or(r.Compression.Zstd, DefaultZstd)
	r.Compression.Gzip = cmp.Or(r.Compression.Gzip, DefaultGzip)
	for i := range r.Targets {
		in := &r.Targets[i].Interpreter
		if u, err := url.Parse(in.URL); in.File == "" && err == nil && in.URL != "" {
			in.File = path.Base(u.Path)
		}
	}
}

// Merged returns the merged recipe as canonical YAML: fields in the order of
// the schema, maps sorted, nothing that is empty. Equal recipes give equal
// bytes wherever they lie.
func (r *Recipe) Merged() ([]byte, error) {
	var node yaml.Node
	if err := node.Encode(r); err != nil {
		return nil, fmt.Errorf("recipe %s: %w", r.Name, err)
	}
	prune(&node, false)
	out, err := yaml.Dump(&node, yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("recipe %s: %w", r.Name, err)
	}
	if _, err := decode("the merged recipe", out); err != nil {
		return nil, fmt.Errorf("recipe %s does not survive encoding: %w: %w", r.Name, err, bundle.ErrInvalid)
	}
	return out, nil
}

// prune drops mapping entries that say nothing. In the maps under env an
// empty value says something: the variable is set.
func prune(n *yaml.Node, env bool) {
	for i, c := range n.Content {
		prune(c, env || (n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == "env"))
	}
	if n.Kind != yaml.MappingNode || env {
		return
	}
	kept := n.Content[:0]
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !empty(n.Content[i+1]) {
			kept = append(kept, n.Content[i], n.Content[i+1])
		}
	}
	n.Content = kept
}

func empty(n *yaml.Node) bool {
	switch n.Kind {
	case yaml.MappingNode, yaml.SequenceNode:
		return len(n.Content) == 0
	case yaml.ScalarNode:
		return n.Value == "" || n.Tag == "!!null" || (n.Tag == "!!int" && n.Value == "0") || n.Value == "0s"
	case yaml.DocumentNode, yaml.AliasNode, yaml.StreamNode:
	}
	return false
}
