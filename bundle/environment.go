// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// EnvironmentVersion is the version of environment.json this package writes
// and the newest it reads.
const EnvironmentVersion = 1

// Environment is metalpack/environment.json: what an environment is, what is
// in it, and how it is probed and served. The runtime knows engines only by
// what stands here.
type Environment struct {
	Version     int                `json:"version"` // [EnvironmentVersion]
	Name        string             `json:"name"`    // payload root and install directory
	Release     string             `json:"release"`
	Platform    Platform           `json:"platform"`
	Interpreter Interpreter        `json:"interpreter"`
	Packages    []Package          `json:"packages"` // sorted by name
	Layers      []LayerInfo        `json:"layers"`   // in manifest order, the metadata layer excepted
	Decisions   []Decision         `json:"decisions"`
	Launch      map[string]Profile `json:"launch"`
	Probes      []Probe            `json:"probes"`
}

// Interpreter says which CPython an environment holds.
type Interpreter struct {
	Version string `json:"version"` // 3.12.16
	SHA256  string `json:"sha256"`  // of the archive it was taken from, hex
}

// Package is one installed wheel.
type Package struct {
	Name    string `json:"name"` // normalised
	Version string `json:"version"`
	File    string `json:"file"`   // wheel file name
	SHA256  string `json:"sha256"` // of the wheel, hex
	Layer   string `json:"layer"`
}

// LayerInfo is one layer as the builder planned it.
type LayerInfo struct {
	Name     string `json:"name"`
	Identity string `json:"identity"` // sha256 of the entry plan, hex
	Entries  int    `json:"entries"`
	Size     int64  `json:"size"` // bytes of its files
}

// Decision is something a recipe decided against the default, with its reason.
type Decision struct {
	Kind    string `json:"kind"`              // exclude, winner, waive, substitute, extra, interpreter
	Package string `json:"package,omitempty"` // "" for an interpreter, and for what is waived of it
	Path    string `json:"path,omitempty"`    // files a winner or waiver is about; else the name of the file
	Rule    string `json:"rule,omitempty"`
	Reason  string `json:"reason"`
}

// Profile is a launch profile: how a server of the environment is started and
// recognised as sound. Args may hold the placeholders {model.dir}, {host},
// {port} and, as a whole argument, {model.names}, which becomes one argument
// per served name.
type Profile struct {
	Module    string            `json:"module"              yaml:"module"` // python -m
	Args      []string          `json:"args"                yaml:"args"`
	Env       map[string]string `json:"env,omitempty"       yaml:"env"`
	Health    string            `json:"health"              yaml:"health"`    // path that answers 200 while the server lives
	Activated string            `json:"activated,omitempty" yaml:"activated"` // log line that must appear before traffic
	Names     string            `json:"names,omitempty"     yaml:"names"`     // NamesServed or NamesRewrite
	Endpoints []string          `json:"endpoints"           yaml:"endpoints"` // what the proxy lets through, e.g. /v1/chat/completions
	Failures  []KnownFailure    `json:"failures,omitempty"  yaml:"failures"`  // log lines that mean something to a user
	Scratch   []string          `json:"scratch,omitempty"   yaml:"scratch"`   // variables that get a private empty directory each
	Ready     Duration          `json:"ready,omitempty"     yaml:"ready"`     // how long to wait for the first token; 0 = 5 minutes
}

// Values of [Profile.Names].
const (
	NamesServed  = ""        // the server is told its names by {model.names}
	NamesRewrite = "rewrite" // the proxy replaces the name in each request by {model.dir}
)

// KnownFailure maps a line of an engine's log to what the user can do.
type KnownFailure struct {
	Line string `json:"line" yaml:"line"` // substring
	Hint string `json:"hint" yaml:"hint"`
}

// Probe is one rung of the probe ladder. Exactly one of Import, Call and Code
// is set. The interpreter itself (runs, version, machine) is always probed
// first and is not listed.
type Probe struct {
	Name    string   `json:"name,omitempty"    yaml:"name"`    // for reports; default: derived
	Import  Strings  `json:"import,omitempty"  yaml:"import"`  // modules, imported in one process
	Version string   `json:"version,omitempty" yaml:"version"` // with Import: package whose metadata must give the version in Packages
	Call    string   `json:"call,omitempty"    yaml:"call"`    // expression; its module is imported first
	Equals  string   `json:"equals,omitempty"  yaml:"equals"`  // with Call: str() of the result
	Code    string   `json:"code,omitempty"    yaml:"code"`    // program; exit status 0 passes, its output is recorded
	On      string   `json:"on,omitempty"      yaml:"on"`      // GOOS on which it runs; "" = everywhere; elsewhere it is skipped by name
	Timeout Duration `json:"timeout,omitempty" yaml:"timeout"` // 0 = 2 minutes
}

// Label is the probe's name, or one derived from what it does.
func (p Probe) Label() string {
	switch {
	case p.Name != "":
		return p.Name
	case len(p.Import) > 0:
		return "import " + strings.Join(p.Import, ", ")
	case p.Call != "":
		return p.Call
	}
	return "code"
}

// Strings is a list that recipes may write as one string.
type Strings []string

// UnmarshalYAML accepts a string or a list of strings.
func (s *Strings) UnmarshalYAML(unmarshal func(any) error) error {
	var one string
	if unmarshal(&one) == nil {
		*s = Strings{one}
		return nil
	}
	return unmarshal((*[]string)(s))
}

// Duration is a time.Duration that is written "90s" or "5m".
type Duration time.Duration

// MarshalText writes the duration as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration accepts, if not negative.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("duration %q: want one like 90s or 5m: %w", text, ErrInvalid)
	}
	*d = Duration(v)
	return nil
}

var environmentName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// CheckName reports whether name can be an environment's name. The error
// wraps [ErrInvalid].
func CheckName(name string) error {
	if !environmentName.MatchString(name) {
		return fmt.Errorf("name %q: want lower-case letters, digits and dashes, at most 63: %w", name, ErrInvalid)
	}
	return nil
}

// Encode returns the canonical bytes: two-space indented JSON with a final
// newline, keys in struct order, maps sorted.
func (e *Environment) Encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("environment.json: %w", err)
	}
	return b.Bytes(), nil
}

// ParseEnvironment decodes environment.json. A newer version is refused.
// Errors wrap [ErrInvalid].
func ParseEnvironment(data []byte) (*Environment, error) {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("environment.json: %w: %w", err, ErrInvalid)
	}
	if head.Version != EnvironmentVersion {
		return nil, fmt.Errorf("environment.json: version %d, this program reads %d; a newer metalrun may read it: %w", head.Version, EnvironmentVersion, ErrInvalid)
	}
	e := new(Environment)
	if err := decodeUpTo(maxManifestValues, data, e); err != nil {
		return nil, fmt.Errorf("environment.json: %w", err)
	}
	return e, CheckName(e.Name)
}
