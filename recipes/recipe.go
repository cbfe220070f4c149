// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package recipes owns package recipes: their schema, their loader, and the
// recipes that ship with the program, with their locks.
//
// A [Recipe] is read in three steps: strict decoding, in which an unknown
// field is an error; extends and merge; and [Recipe.Validate]. [Load] does all
// three, for a directory with a recipe.yaml or for the name of an embedded
// recipe. docs/recipe.md describes every field, in the words of [Schema].
//
// # Merging
//
// A recipe that extends another, by path or embedded name, replaces its
// scalars and lists; maps merge by key. A target replaces the fields of the
// target with the same platform, its interpreter as a whole. A file belongs to
// the recipe that named it, wherever that lies: [Recipe.ReadFile] knows.
//
// # Errors
//
// What is wrong is an [*Error] with file, line, column and the line itself,
// and all of it is said at once. Decoding keeps a tree of the places where
// values stand, and merging takes each value's place with it; so a value that
// breaks a rule is shown in the recipe it came from. [Recipe.Fault] lets others
// report what they find the same way. No error shows a login.
//
// It promises that equal recipes give equal [Recipe.Merged] bytes, wherever
// they lie; that nothing outside the recipe's own directory is read; and that
// everything decided against the default has its reason ([Recipe.Decisions]).
package recipes

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// FormatVersion is the version of recipe.yaml this package reads.
const FormatVersion = 1

// Recipe says what an environment is made of.
type Recipe struct {
	Version      int                       `yaml:"version"` // [FormatVersion]
	Extends      string                    `yaml:"extends"` // embedded name, or path of a directory beginning with a dot or slash
	Name         string                    `yaml:"name"`    // payload root and install directory
	Release      string                    `yaml:"release"`
	Requirements string                    `yaml:"requirements"` // file
	Targets      []Target                  `yaml:"targets"`
	Wheels       Wheels                    `yaml:"wheels"`
	Strip        []string                  `yaml:"strip"` // doublestar, relative to the root
	Compression  Compression               `yaml:"compression"`
	Launch       map[string]bundle.Profile `yaml:"launch"`
	Probes       []bundle.Probe            `yaml:"probes"`

	home   place            // where the recipe itself lies
	chain  []place          // home first, then what it extends
	origin map[string]place // where each named file lies
	at     *spot            // where its fields were written; nil = not read from a file
}

// Target is one platform of a recipe.
type Target struct {
	Platform    string                       `yaml:"platform"`    // os/arch
	OS          string                       `yaml:"os"`          // floor on darwin: "15.0"
	Glibc       string                       `yaml:"glibc"`       // floor on linux: "2.35"
	Lock        string                       `yaml:"lock"`        // file
	Interpreter Interpreter                  `yaml:"interpreter"` // CPython
	Env         map[string]map[string]string `yaml:"env"`         // launch profile -> variables it gets on this platform

	replaces bool // the interpreter takes the place of another recipe's
}

// Interpreter is the CPython archive of a target.
type Interpreter struct {
	Version string `yaml:"version"` // 3.12.16
	File    string `yaml:"file"`    // name under which it is looked for on disk; default: the last part of URL
	URL     string `yaml:"url"`
	SHA256  string `yaml:"sha256"`
	Reason  string `yaml:"reason"` // why not the one of the recipe below

	Waive []InterpreterWaiver `yaml:"waive"`
}

// InterpreterWaiver lets files of the interpreter break a rule of the look at
// binaries.
type InterpreterWaiver struct {
	Rule   string `yaml:"rule"`
	Path   string `yaml:"path"` // as in Winner; "" = all its files
	Reason string `yaml:"reason"`
}

// isZero reports whether nothing of it was written.
func (in Interpreter) isZero() bool {
	return in.is(Interpreter{}) && in.Reason == "" && in.Waive == nil
}

// is reports whether both name the same archive.
func (in Interpreter) is(other Interpreter) bool {
	return in.Version == other.Version && in.File == other.File && in.URL == other.URL && in.SHA256 == other.SHA256
}

// Wheels holds the decisions about wheels. Each needs its reason.
type Wheels struct {
	Winner     []Winner     `yaml:"winner"`
	Waive      []Waiver     `yaml:"waive"`
	Exclude    []Exclude    `yaml:"exclude"`
	Substitute []Substitute `yaml:"substitute"`
	Extra      []Extra      `yaml:"extra"`
}

// Winner names the package whose bytes count under Path when several own it.
type Winner struct {
	Path    string `yaml:"path"` // a file, a directory with a final slash, or a pattern; below site-packages or the root
	Package string `yaml:"package"`
	Reason  string `yaml:"reason"`
}

// Waiver lets a package break a rule of the wheel reader or of the look at
// binaries.
type Waiver struct {
	Package string `yaml:"package"`
	Rule    string `yaml:"rule"`
	Path    string `yaml:"path"` // as in Winner; "" = all its files
	Reason  string `yaml:"reason"`
}

// Exclude leaves a package out that the resolver wants.
type Exclude struct {
	Package string `yaml:"package"`
	Reason  string `yaml:"reason"`
}

// Substitute replaces the locked wheel of a package by another one.
type Substitute struct {
	Package string `yaml:"package"`
	File    string `yaml:"file"` // wheel file name, in wheels/ beside the recipe
	URL     string `yaml:"url"`
	SHA256  string `yaml:"sha256"`
	Reason  string `yaml:"reason"`
}

// Extra adds a wheel that no index has.
type Extra struct {
	File   string `yaml:"file"` // wheel file name, in wheels/ beside the recipe
	URL    string `yaml:"url"`
	SHA256 string `yaml:"sha256"`
	On     string `yaml:"on"` // GOOS; "" = every target
	Reason string `yaml:"reason"`
}

// Codecs of layers.
const (
	CodecGzip = "gzip"
	CodecZstd = "zstd"
)

// Compression says how layers are compressed; what is not set gets the
// defaults of [DefaultGzip] and [DefaultZstd] and both codecs.
type Compression struct {
	Codecs []string  `yaml:"codecs"` // CodecGzip, CodecZstd
	Gzip   GzipLevel `yaml:"gzip"`
	Zstd   string    `yaml:"zstd"` // fast, release, best
}

// GzipLevel is a level from 1 to 9, or [GzipJoin]; 0 is none that was said.
type GzipLevel int

// GzipJoin takes what wheels have compressed as it is.
const GzipJoin GzipLevel = -1

// Default levels.
const (
	DefaultGzip = GzipJoin
	DefaultZstd = "release"
)

// UnmarshalText implements encoding.TextUnmarshaler. The error wraps
// [bundle.ErrInvalid].
func (g *GzipLevel) UnmarshalText(text []byte) error {
	if string(text) == gzipJoin {
		*g = GzipJoin
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n <= 0 {
		return fmt.Errorf("level %q of gzip: want 1 to 9 or %s: %w", text, gzipJoin, bundle.ErrInvalid)
	}
	*g = GzipLevel(n)
	return nil
}

// MarshalYAML implements yaml.Marshaler.
func (g GzipLevel) MarshalYAML() (any, error) {
	if g == GzipJoin {
		return gzipJoin, nil
	}
	return int(g), nil
}

const gzipJoin = "join"

// Dir is the directory of the recipe, "" when it is embedded.
func (r *Recipe) Dir() string { return r.home.dir }

// FS holds the recipe's own files, whether embedded or on disk.
func (r *Recipe) FS() fs.FS { return r.home.fs }

// WheelDirs lists the wheels/ directories on disk beside this recipe and those
// it extends, nearest first, whether or not they exist.
func (r *Recipe) WheelDirs() []string {
	var dirs []string
	for _, p := range r.chain {
		if p.dir != "" {
			dirs = append(dirs, p.path("wheels"))
		}
	}
	return dirs
}

// Dirs lists the directories of this recipe and those it extends, nearest
// first. One that is embedded lies in recipes below the top of the repository
// it comes from, which is assumed to be root.
func (r *Recipe) Dirs(root string) []string {
	dirs := make([]string, len(r.chain))
	for i, p := range r.chain {
		if dirs[i] = p.dir; p.dir == "" {
			dirs[i] = filepath.Join(root, "recipes", strings.TrimPrefix(p.label, embeddedLabel))
		}
	}
	return dirs
}

// Target returns the target of a platform, given as os/arch.
func (r *Recipe) Target(platform string) (Target, bool) {
	i := slices.IndexFunc(r.Targets, func(t Target) bool { return t.Platform == platform })
	if i < 0 {
		return Target{}, false
	}
	return r.Targets[i], true
}

// Bundle returns the platform with its floor. The recipe must be valid.
func (t Target) Bundle() bundle.Platform {
	p, _ := bundle.ParsePlatform(t.Platform) // checked by Validate
	p.MacOS, p.Glibc = t.OS, t.Glibc
	return p
}

// Profiles returns the launch profiles as they are on one platform: the
// recipe's, with the variables that the target adds.
func (r *Recipe) Profiles(t Target) map[string]bundle.Profile {
	out := make(map[string]bundle.Profile, len(r.Launch))
	for name, p := range r.Launch {
		if extra := t.Env[name]; len(extra) > 0 {
			env := maps.Clone(p.Env)
			if env == nil {
				env = make(map[string]string, len(extra))
			}
			maps.Copy(env, extra)
			p.Env = env
		}
		out[name] = p
	}
	return out
}
