// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

var (
	pythonVersion = regexp.MustCompile(`^3\.12\.\d{1,3}$`)
	floorVersion  = regexp.MustCompile(`^\d{1,2}\.\d{1,2}$`)
	lockName      = regexp.MustCompile(`^pylock(\.[^./]+)?\.toml$`)
	packageName   = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// platforms are the platforms an environment can be built for.
func platforms() []string { return []string{"darwin/arm64", "linux/amd64", "linux/arm64"} }

// rules are those that a package can be let break; package builder, which knows
// this one, has them.
func rules() []string {
	return []string{"arch", "malformed", "minos", "platform", "pth", "pycache", "record", "startup", "stdlib", "unsigned"}
}

// binaryRules are those of them that are about binaries, of which the
// interpreter has some too.
func binaryRules() []string { return []string{"arch", "malformed", "minos", "platform", "unsigned"} }

// checker collects what is wrong, each with the path of its field.
type checker struct {
	r    *Recipe
	errs []error
}

func (c *checker) fail(field, format string, args ...any) {
	c.errs = append(c.errs, c.r.Fault(field, format, args...))
}

// maxFaults is how many errors of a recipe are shown.
const maxFaults = 100

// joined makes one error of them, or nil.
func joined(errs []error) error {
	if n := len(errs) - maxFaults; n > 0 {
		errs = append(errs[:maxFaults:maxFaults], fmt.Errorf("%d more errors: %w", n, bundle.ErrInvalid))
	}
	return errors.Join(errs...)
}

// must reports an error about a field, if there is one.
func (c *checker) must(field string, err error) {
	if err != nil {
		c.fail(field, "%s", plain(err))
	}
}

func (c *checker) need(field, value string) {
	if strings.TrimSpace(value) == "" {
		c.fail(field, "missing")
	}
}

// Validate reports everything that is wrong with a merged recipe, as [*Error]
// joined, in the order of the fields.
func (r *Recipe) Validate() error {
	c := &checker{r: r}
	c.must("name", bundle.CheckName(r.Name))
	c.need("release", r.Release)
	c.file("requirements", r.Requirements)
	if len(r.Targets) == 0 {
		c.fail("targets", "none")
	}
	for i, t := range r.Targets {
		if slices.ContainsFunc(r.Targets[:i], func(o Target) bool { return o.Platform == t.Platform }) {
			c.fail(fmt.Sprintf("targets[%d].platform", i), "%s appears twice", t.Platform)
			continue
		}
		c.target(fmt.Sprintf("targets[%d]", i), t)
		if t.Lock != "" && slices.ContainsFunc(r.Targets[:i], func(o Target) bool { return o.Lock == t.Lock }) {
			c.fail(fmt.Sprintf("targets[%d].lock", i), "%s belongs to another target", t.Lock)
		}
	}
	c.wheels(r.Wheels)
	if len(r.Strip) > maxStrip {
		c.fail("strip", "%d patterns, more than %d", len(r.Strip), maxStrip)
	}
	for i, glob := range r.Strip {
		c.strip(fmt.Sprintf("strip[%d]", i), glob)
	}
	c.compression(r.Compression)
	for _, name := range slices.Sorted(maps.Keys(r.Launch)) {
		c.profile(name, r.Launch[name])
	}
	for i, p := range r.Probes {
		c.probe(fmt.Sprintf("probes[%d]", i), p)
		if slices.ContainsFunc(r.Probes[:i], func(o bundle.Probe) bool { return o.Label() == p.Label() }) {
			c.fail(fmt.Sprintf("probes[%d]", i), "another probe is named %q too: reports could not tell them apart", p.Label())
		}
	}
	return joined(c.errs)
}

// file checks a named file: inside the recipe's directory.
func (c *checker) file(field, name string) {
	if name == "" {
		c.fail(field, "missing")
		return
	}
	c.must(field, bundle.CheckPath(name))
}

func (c *checker) target(field string, t Target) {
	if !slices.Contains(platforms(), t.Platform) {
		c.fail(field+".platform", "%q: known are %s", t.Platform, strings.Join(platforms(), ", "))
		return
	}
	set, unset, name, other, like := t.OS, t.Glibc, ".os", ".glibc", "15.0"
	if strings.HasPrefix(t.Platform, "linux/") {
		set, unset, name, other, like = t.Glibc, t.OS, ".glibc", ".os", "2.35"
	}
	if !floorVersion.MatchString(set) {
		c.fail(field+name, "%q: want the oldest system it runs on, like %q", set, like)
	}
	if unset != "" {
		c.fail(field+other, "has no meaning on %s", t.Platform)
	}
	c.file(field+".lock", t.Lock)
	if t.Lock != "" && !lockName.MatchString(t.Lock) {
		c.fail(field+".lock", "%q: want pylock.NAME.toml without further dots, beside the recipe; 'metalpack lock RECIPE --from FILE' makes it of a requirements file with hashes", t.Lock)
	}
	c.interpreter(field+".interpreter", t)
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		at := field + ".env." + name
		p, ok := c.r.Launch[name]
		if !ok {
			c.fail(at, "there is no launch profile of that name")
		}
		c.environment(at, t.Env[name], p.Scratch)
	}
}

func (c *checker) interpreter(field string, t Target) {
	in := t.Interpreter
	if in.isZero() {
		c.fail(field, "missing")
		return
	}
	if !pythonVersion.MatchString(in.Version) {
		c.fail(field+".version", "%q: want a full version of CPython 3.12, like 3.12.16", in.Version)
	}
	c.sha256(field+".sha256", in.SHA256)
	if in.File == "" {
		c.fail(field, "neither url nor file says where it is")
	} else {
		c.baseName(field+".file", in.File)
	}
	c.address(field+".url", in.URL)
	if t.replaces && strings.TrimSpace(in.Reason) == "" {
		c.fail(field+".reason", "missing: it replaces the interpreter of the recipe below, so it says why")
	}
	for i, d := range in.Waive {
		f := fmt.Sprintf("%s.waive[%d]", field, i)
		c.waived(f, d.Rule, d.Path, binaryRules())
		c.reason(f, d.Reason)
	}
}

func (c *checker) sha256(field, s string) {
	if raw, err := hex.DecodeString(s); err != nil || len(raw) != 32 || strings.ToLower(s) != s {
		c.fail(field, "%q: want 64 lower-case hex digits", s)
	}
}

// address checks an optional URL.
func (c *checker) address(field, s string) {
	if s == "" {
		return
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
		c.fail(field, "want an http or https address without credentials")
	}
}

// baseName checks a file name without a directory.
func (c *checker) baseName(field, name string) {
	if err := bundle.CheckPath(name); err != nil || strings.Contains(name, "/") {
		c.fail(field, "%q: want a file name without a directory", name)
	}
}

func (c *checker) wheels(w Wheels) {
	for i, d := range w.Winner {
		f := fmt.Sprintf("wheels.winner[%d]", i)
		c.decision(f, d.Package, d.Reason)
		c.covered(f+".path", d.Path)
	}
	for i, d := range w.Waive {
		f := fmt.Sprintf("wheels.waive[%d]", i)
		c.decision(f, d.Package, d.Reason)
		c.waived(f, d.Rule, d.Path, rules())
	}
	for i, d := range w.Exclude {
		c.decision(fmt.Sprintf("wheels.exclude[%d]", i), d.Package, d.Reason)
	}
	for i, d := range w.Substitute {
		f := fmt.Sprintf("wheels.substitute[%d]", i)
		c.decision(f, d.Package, d.Reason)
		c.wheelFile(f, d.File, d.URL, d.SHA256)
	}
	for i, d := range w.Extra {
		f := fmt.Sprintf("wheels.extra[%d]", i)
		c.need(f+".reason", d.Reason)
		c.wheelFile(f, d.File, d.URL, d.SHA256)
		c.goos(f+".on", d.On)
	}
}

func (c *checker) decision(field, pkg, reason string) {
	if !packageName.MatchString(pkg) {
		c.fail(field+".package", "%q: want a normalised name, lower case with dashes", pkg)
	}
	c.reason(field, reason)
}

func (c *checker) reason(field, reason string) {
	if strings.TrimSpace(reason) == "" {
		c.fail(field+".reason", "missing: every decision says why")
	}
}

// waived checks which rule is waived, and for which files.
func (c *checker) waived(field, rule, path string, known []string) {
	if !slices.Contains(known, rule) {
		c.fail(field+".rule", "%q: known are %s", rule, strings.Join(known, ", "))
	}
	if path != "" {
		c.covered(field+".path", path)
	}
}

// covered checks which files a decision is about: one, a directory, a pattern.
func (c *checker) covered(field, path string) {
	if laborious(path) {
		c.fail(field, "%q: more than %d braces or double stars in one pattern", path, maxWild)
		return
	}
	c.file(field, strings.TrimSuffix(path, "/"))
}

func (c *checker) wheelFile(field, file, address, sum string) {
	c.baseName(field+".file", file)
	if !strings.HasSuffix(file, ".whl") {
		c.fail(field+".file", "%q is no wheel", file)
	}
	c.sha256(field+".sha256", sum)
	c.address(field+".url", address)
}

func (c *checker) goos(field, s string) {
	if s != "" && s != "darwin" && s != "linux" {
		c.fail(field, "%q: known are darwin, linux", s)
	}
}
