// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/metalpack/metalpack/bundle"
)

var (
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// placeholder is what the launcher takes for one: a JSON argument has
	// braces too, but no bare word between them.
	placeholder = regexp.MustCompile(`\{[a-z]+(\.[a-z]+)?\}`)
	// dotted is a module and something in it.
	dotted = regexp.MustCompile(`^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$`)
)

// The placeholders of a launch profile.
const (
	modelDir   = "{model.dir}"
	modelNames = "{model.names}" // as a whole argument
	host       = "{host}"
	port       = "{port}"
)

// strip checks a pattern: one that can match, and not what must stay.
// maxStrip is the cap on patterns: each path is held against each of them.
const maxStrip = 1000

// maxWild is how often a pattern can have what makes matching try again: the ways
// through it multiply.
const maxWild = 8

func laborious(glob string) bool {
	return strings.Count(glob, "{") > maxWild || strings.Count(glob, ",") > maxWild*maxWild || strings.Count(glob, "**") > maxWild
}

func (c *checker) strip(field, glob string) {
	switch {
	case glob == "" || !doublestar.ValidatePattern(glob):
		c.fail(field, "%q is no pattern", glob)
	case laborious(glob):
		c.fail(field, "%q: more than %d braces or double stars in one pattern", glob, maxWild)
	case strings.HasPrefix(glob, "/") || strings.Contains("/"+glob, "/../") || strings.Contains("/"+glob, "/./"):
		c.fail(field, "%q: want a pattern relative to the root, like share/**", glob)
	case strings.HasSuffix(glob, "/"):
		c.fail(field, "%q matches no file; all below a directory is %q", glob, glob+"**")
	case c.r.Name != "" && strings.HasPrefix(glob, c.r.Name+"/"):
		c.fail(field, "%q: the root is %s/ itself, so leave that out", glob, c.r.Name)
	case doublestar.MatchUnvalidated(glob, "bin/python3.12"):
		c.fail(field, "%q would remove the interpreter", glob)
	}
}

func (c *checker) compression(z Compression) {
	for i, codec := range z.Codecs {
		if (codec != CodecGzip && codec != CodecZstd) || slices.Contains(z.Codecs[:i], codec) {
			c.fail(fmt.Sprintf("compression.codecs[%d]", i), "%q: known are gzip, zstd, each once", codec)
		}
	}
	if z.Gzip > 9 {
		c.fail("compression.gzip", "%d: want 1 to 9 or join", z.Gzip)
	}
	if z.Zstd != "fast" && z.Zstd != "release" && z.Zstd != "best" {
		c.fail("compression.zstd", "%q: known are fast, release, best", z.Zstd)
	}
}

func (c *checker) profile(name string, p bundle.Profile) {
	field := "launch." + name
	c.must(field, bundle.CheckName(name))
	c.need(field+".module", p.Module)
	c.arguments(field, p)
	if !strings.HasPrefix(p.Health, "/") {
		c.fail(field+".health", "%q: want a path, like /health", p.Health)
	}
	if p.Names != bundle.NamesServed && p.Names != bundle.NamesRewrite {
		c.fail(field+".names", "%q: known is %q", p.Names, bundle.NamesRewrite)
	}
	if len(p.Endpoints) == 0 {
		c.fail(field+".endpoints", "none")
	}
	for i, path := range p.Endpoints {
		if !strings.HasPrefix(path, "/") || slices.Contains(p.Endpoints[:i], path) {
			c.fail(fmt.Sprintf("%s.endpoints[%d]", field, i), "%q: want paths, like /v1/models, each once", path)
		}
	}
	for i, known := range p.Failures {
		c.need(fmt.Sprintf("%s.failures[%d].line", field, i), known.Line) // "" would be in every line
		c.need(fmt.Sprintf("%s.failures[%d].hint", field, i), known.Hint)
	}
	for i, name := range p.Scratch {
		if !variable.MatchString(name) || slices.Contains(p.Scratch[:i], name) {
			c.fail(fmt.Sprintf("%s.scratch[%d]", field, i), "%q: want names of environment variables, each once", name)
		}
	}
	c.environment(field+".env", p.Env, p.Scratch)
}

// arguments checks that a server is told its model, its names and its port.
func (c *checker) arguments(field string, p bundle.Profile) {
	used := make(map[string]bool)
	for i, arg := range p.Args {
		c.placeholders(fmt.Sprintf("%s.args[%d]", field, i), arg, arg == modelNames, used)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		c.placeholders(field+".env."+name, p.Env[name], false, used)
	}
	if !used[modelDir] {
		c.fail(field+".args", "no %s: the server would not know its model", modelDir)
	}
	if !used[port] {
		c.fail(field+".args", "no %s: the server would listen on a port of its own", port)
	}
	if p.Names == bundle.NamesServed && !used[modelNames] {
		c.fail(field+".args", "no %s: a server that is not told its names needs names: %s", modelNames, bundle.NamesRewrite)
	}
}

// placeholders notes those in a word, and refuses what would stay as it is.
func (c *checker) placeholders(field, word string, names bool, used map[string]bool) {
	for _, p := range placeholder.FindAllString(word, -1) {
		used[p] = true
		switch {
		case p == modelNames && !names:
			c.fail(field, "%q: %s is an argument of its own, which becomes one for each name", word, p)
		case p != modelNames && p != modelDir && p != host && p != port:
			c.fail(field, "%q: no placeholder %s, known are %s, %s, %s, %s", word, p, modelDir, modelNames, host, port)
		}
	}
}

// environment checks variables; those that get a private directory cannot have
// a value too.
func (c *checker) environment(field string, vars map[string]string, scratch []string) {
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !variable.MatchString(name) || strings.ContainsRune(vars[name], 0) {
			c.fail(field+"."+name, "%q is no environment variable", name)
		}
		if slices.Contains(scratch, name) {
			c.fail(field+"."+name, "%s is among the profile's scratch too: a private directory, or this value", name)
		}
	}
}

func (c *checker) probe(field string, p bundle.Probe) {
	n := 0
	for _, set := range []bool{len(p.Import) > 0, p.Call != "", p.Code != ""} {
		if set {
			n++
		}
	}
	if n != 1 {
		c.fail(field, "want exactly one of import, call, code")
	}
	for i, module := range p.Import {
		c.need(fmt.Sprintf("%s.import[%d]", field, i), module)
	}
	if p.Version != "" && len(p.Import) == 0 {
		c.fail(field+".version", "goes with import")
	}
	if p.Version != "" && !packageName.MatchString(p.Version) {
		c.fail(field+".version", "%q: want the normalised name of a package, lower case with dashes", p.Version)
	}
	if p.Equals != "" && p.Call == "" {
		c.fail(field+".equals", "goes with call")
	}
	// The module is what stands before the last dot of the name that is called.
	if name, _, _ := strings.Cut(p.Call, "("); p.Call != "" && !dotted.MatchString(strings.TrimSpace(name)) {
		c.fail(field+".call", "%q: which module is that in? want an expression like module.function()", p.Call)
	}
	c.goos(field+".on", p.On)
}
