// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/metalpack/metalpack/bundle"
)

// merge lays a recipe over the one it extends.
func merge(base, child *Recipe) *Recipe {
	out := *child
	out.Extends = ""
	first(&out.Name, base.Name)
	first(&out.Release, base.Release)
	first(&out.Requirements, base.Requirements)
	out.Targets = mergeTargets(base.Targets, child.Targets)
	w, b := &out.Wheels, base.Wheels
	firstList(&w.Winner, b.Winner)
	firstList(&w.Waive, b.Waive)
	firstList(&w.Exclude, b.Exclude)
	firstList(&w.Substitute, b.Substitute)
	firstList(&w.Extra, b.Extra)
	firstList(&out.Strip, base.Strip)
	firstList(&out.Probes, base.Probes)
	firstList(&out.Compression.Codecs, base.Compression.Codecs)
	first(&out.Compression.Gzip, base.Compression.Gzip)
	first(&out.Compression.Zstd, base.Compression.Zstd)
	out.Launch = mergeMap(base.Launch, child.Launch)
	out.chain = append(slices.Clone(child.chain), base.chain...)
	out.origin = mergeMap(base.origin, child.origin)
	return &out
}

// mergeTargets replaces field by field where the platform is the same; new
// platforms come last.
func mergeTargets(base, child []Target) []Target {
	out := slices.Clone(base)
	for _, c := range child {
		i := slices.IndexFunc(out, func(t Target) bool { return t.Platform == c.Platform })
		if i < 0 {
			out = append(out, c)
			continue
		}
		b := out[i]
		first(&c.OS, b.OS)
		first(&c.Glibc, b.Glibc)
		first(&c.Lock, b.Lock)
		first(&c.Interpreter, b.Interpreter)
		env := maps.Clone(b.Env)
		for name, vars := range c.Env {
			if env == nil {
				env = make(map[string]map[string]string)
			}
			env[name] = mergeMap(env[name], vars)
		}
		c.Env = env
		out[i] = c
	}
	return out
}

// first keeps v, or takes the value below when v is not set.
func first[T comparable](v *T, below T) {
	var zero T
	if *v == zero {
		*v = below
	}
}

// firstList is first for lists: an empty list that is written replaces too.
func firstList[T any](v *[]T, below []T) {
	if *v == nil {
		*v = below
	}
}

func mergeMap[K comparable, V any](base, child map[K]V) map[K]V {
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
	first(&r.Compression.Gzip, DefaultGzip)
	first(&r.Compression.Zstd, DefaultZstd)
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
