// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/metalpack/metalpack/bundle"
)

var (
	pythonVersion = regexp.MustCompile(`^3\.12\.\d{1,3}$`)
	floorVersion  = regexp.MustCompile(`^\d{1,2}\.\d{1,2}$`)
	lockName      = regexp.MustCompile(`^pylock(\.[^./]+)?\.toml$`)
	packageName   = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	variable      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// platforms are the platforms an environment can be built for.
func platforms() []string { return []string{"darwin/arm64", "linux/amd64", "linux/arm64"} }

// checker collects what is wrong, each with the path of its field.
type checker struct{ errs []error }

func (c *checker) fail(field, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s: %s: %w", field, fmt.Sprintf(format, args...), bundle.ErrInvalid))
}

func (c *checker) need(field, value string) {
	if strings.TrimSpace(value) == "" {
		c.fail(field, "missing")
	}
}

// Validate reports everything that is wrong with a merged recipe. The error
// wraps [bundle.ErrInvalid].
func (r *Recipe) Validate() error {
	c := new(checker)
	if err := bundle.CheckName(r.Name); err != nil {
		c.errs = append(c.errs, err)
	}
	c.need("release", r.Release)
	c.file("requirements", r.Requirements)
	if len(r.Targets) == 0 {
		c.fail("targets", "none")
	}
	for i, t := range r.Targets {
		c.target(fmt.Sprintf("targets[%d]", i), r, t)
		if slices.ContainsFunc(r.Targets[:i], func(o Target) bool { return o.Platform == t.Platform }) {
			c.fail(fmt.Sprintf("targets[%d].platform", i), "%s appears twice", t.Platform)
		}
		if slices.ContainsFunc(r.Targets[:i], func(o Target) bool { return o.Lock == t.Lock }) {
			c.fail(fmt.Sprintf("targets[%d].lock", i), "%s belongs to another target", t.Lock)
		}
	}
	c.wheels(r.Wheels)
	for i, glob := range r.Strip {
		if glob == "" || strings.HasPrefix(glob, "/") || strings.Contains("/"+glob+"/", "/../") || !doublestar.ValidatePattern(glob) {
			c.fail(fmt.Sprintf("strip[%d]", i), "%q is no pattern relative to the root", glob)
		}
	}
	c.compression(r.Compression)
	for name, p := range r.Launch {
		c.profile("launch."+name, p)
	}
	for i, p := range r.Probes {
		c.probe(fmt.Sprintf("probes[%d]", i), p)
	}
	return errors.Join(c.errs...)
}

// file checks a named file: inside the recipe's directory.
func (c *checker) file(field, name string) {
	if err := bundle.CheckPath(name); err != nil {
		c.errs = append(c.errs, fmt.Errorf("%s: %w", field, err))
	}
}

func (c *checker) target(field string, r *Recipe, t Target) {
	if !slices.Contains(platforms(), t.Platform) {
		c.fail(field+".platform", "%q: known are %s", t.Platform, strings.Join(platforms(), ", "))
		return
	}
	set, unset, name, other := t.OS, t.Glibc, ".os", ".glibc"
	if strings.HasPrefix(t.Platform, "linux/") {
		set, unset, name, other = t.Glibc, t.OS, ".glibc", ".os"
	}
	if !floorVersion.MatchString(set) {
		c.fail(field+name, "%q: want the oldest system it runs on, like %q", set, "15.0")
	}
	if unset != "" {
		c.fail(field+other, "has no meaning on %s", t.Platform)
	}
	c.file(field+".lock", t.Lock)
	if !lockName.MatchString(t.Lock) {
		c.fail(field+".lock", "%q: want pylock.NAME.toml without further dots, beside the recipe; 'metalpack lock RECIPE --from FILE' makes it of a requirements file with hashes", t.Lock)
	}
	c.interpreter(field+".interpreter", t.Interpreter)
	for name, vars := range t.Env {
		if _, ok := r.Launch[name]; !ok {
			c.fail(field+".env."+name, "there is no launch profile of that name")
		}
		c.environment(field+".env."+name, vars)
	}
}

func (c *checker) interpreter(field string, in Interpreter) {
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
		c.file(f+".path", strings.TrimSuffix(d.Path, "/"))
	}
	for i, d := range w.Waive {
		f := fmt.Sprintf("wheels.waive[%d]", i)
		c.decision(f, d.Package, d.Reason)
		c.need(f+".rule", d.Rule)
		if d.Path != "" {
			c.file(f+".path", strings.TrimSuffix(d.Path, "/"))
		}
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
	if strings.TrimSpace(reason) == "" {
		c.fail(field+".reason", "missing: every decision says why")
	}
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

func (c *checker) compression(z Compression) {
	for i, codec := range z.Codecs {
		if (codec != CodecGzip && codec != CodecZstd) || slices.Contains(z.Codecs[:i], codec) {
			c.fail(fmt.Sprintf("compression.codecs[%d]", i), "%q: known are gzip, zstd, each once", codec)
		}
	}
	if z.Gzip < 1 || z.Gzip > 9 {
		c.fail("compression.gzip", "%d: want 1 to 9", z.Gzip)
	}
	if z.Zstd != "fast" && z.Zstd != "release" && z.Zstd != "best" {
		c.fail("compression.zstd", "%q: known are fast, release, best", z.Zstd)
	}
}

func (c *checker) profile(field string, p bundle.Profile) {
	if err := bundle.CheckName(strings.TrimPrefix(field, "launch.")); err != nil {
		c.errs = append(c.errs, fmt.Errorf("%s: %w", field, err))
	}
	c.need(field+".module", p.Module)
	if !strings.HasPrefix(p.Health, "/") {
		c.fail(field+".health", "%q: want a path", p.Health)
	}
	if p.Names != bundle.NamesServed && p.Names != bundle.NamesRewrite {
		c.fail(field+".names", "%q: known is %q", p.Names, bundle.NamesRewrite)
	}
	if len(p.Endpoints) == 0 {
		c.fail(field+".endpoints", "none")
	}
	c.environment(field+".env", p.Env)
	for _, name := range p.Scratch {
		c.environment(field+".scratch", map[string]string{name: ""})
	}
}

func (c *checker) environment(field string, vars map[string]string) {
	for name, value := range vars {
		if !variable.MatchString(name) || strings.ContainsRune(value, 0) {
			c.fail(field, "%q is no environment variable", name)
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
	if p.Version != "" && len(p.Import) == 0 {
		c.fail(field+".version", "goes with import")
	}
	if p.Equals != "" && p.Call == "" {
		c.fail(field+".equals", "goes with call")
	}
	c.goos(field+".on", p.On)
}
