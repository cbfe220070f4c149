// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/metalpack/metalpack/bundle"
)

// Defaults of [Config] and of [bundle.Profile].
const (
	DefaultReady = 5 * time.Minute
	DefaultGrace = 5 * time.Second
	DefaultQuiet = 15 * time.Second
)

// searchPath is the PATH of every engine. It is never empty: MLX, for one,
// finds a compiler without PATH and not the compiler's parts.
const searchPath = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

// Config says what to start. VersionDir, Profile, ModelDir and LogPath are
// required.
type Config struct {
	Engine     string           // for messages: the profile's name; "" = the module
	VersionDir string           // an installed version
	Profile    bundle.Profile   // how to serve
	ModelDir   string           // directory with config.json and weights
	Names      []string         // names the model is served under; none = the model's directory
	LogPath    string           // the engine's stdout and stderr; what is there is kept as LogPath + [PreviousLog]
	ScratchDir string           // parent of the private directories; "" = os.TempDir. Keep it short: sockets lie below
	Grace      time.Duration    // between TERM and KILL; 0 = DefaultGrace
	Quiet      time.Duration    // how long a starting engine may be silent after a traceback; 0 = DefaultQuiet
	Events     bundle.EventFunc // started, notes while loading, done
}

// name is what messages call the engine.
func (c *Config) name() string {
	if c.Engine != "" {
		return c.Engine
	}
	return c.Profile.Module
}

// withDefaults fills in zero values and checks the rest.
func (c Config) withDefaults() (Config, error) {
	if c.VersionDir == "" || c.Profile.Module == "" || c.ModelDir == "" || c.LogPath == "" {
		return c, fmt.Errorf("launch: version directory, module, model directory and log are required: %w", bundle.ErrInvalid)
	}
	resolved, err := filepath.EvalSymlinks(c.VersionDir)
	if err != nil {
		return c, fmt.Errorf("launch: %w", err)
	}
	if c.VersionDir, err = filepath.Abs(resolved); err != nil {
		return c, err
	}
	if c.ModelDir, err = filepath.Abs(c.ModelDir); err != nil {
		return c, err
	}
	if c.Profile.Ready == 0 {
		c.Profile.Ready = bundle.Duration(DefaultReady)
	}
	if c.Profile.Health == "" {
		c.Profile.Health = "/health"
	}
	if c.Grace == 0 {
		c.Grace = DefaultGrace
	}
	if c.Quiet == 0 {
		c.Quiet = DefaultQuiet
	}
	if len(c.Names) == 0 {
		c.Names = []string{c.ModelDir}
	}
	return c, nil
}

// RequestModel is the model name that the server itself understands.
func (c Config) RequestModel() string {
	if c.Profile.Names == bundle.NamesRewrite || len(c.Names) == 0 {
		return c.ModelDir
	}
	return c.Names[0]
}

// python is the interpreter.
func (c Config) python() string { return filepath.Join(c.VersionDir, "bin", "python3.12") }

// placeholder is what a profile's words may hold. A JSON argument has braces
// too, but no bare word between them.
var placeholder = regexp.MustCompile(`\{[a-z]+(\.[a-z]+)?\}`)

// argv renders the arguments of the interpreter.
func (c Config) argv(host string, port int) ([]string, error) {
	args := []string{"-I", "-B", "-m", c.Profile.Module}
	for _, word := range c.Profile.Args {
		if word == "{model.names}" {
			args = append(args, c.Names...)
			continue
		}
		rendered, err := c.render(word, host, port)
		if err != nil {
			return nil, err
		}
		args = append(args, rendered)
	}
	return args, nil
}

// render replaces the placeholders in one word. An unknown one is an error
// that wraps [bundle.ErrInvalid].
func (c Config) render(word, host string, port int) (string, error) {
	var unknown string
	out := placeholder.ReplaceAllStringFunc(word, func(p string) string {
		switch p {
		case "{model.dir}":
			return c.ModelDir
		case "{host}":
			return host
		case "{port}":
			return strconv.Itoa(port)
		}
		unknown = p
		return p
	})
	if unknown != "" {
		return "", fmt.Errorf("launch: engine %s: argument %q: no placeholder %s: %w", c.name(), word, unknown, bundle.ErrInvalid)
	}
	return out, nil
}

// environ builds the environment, sorted, and makes the scratch directories
// under private. HOME and TMPDIR are private whether or not the profile says
// so.
func (c Config) environ(private, host string, port int) ([]string, error) {
	env := map[string]string{
		"PATH":                    searchPath,
		"LANG":                    "C.UTF-8",
		"PYTHONDONTWRITEBYTECODE": "1",
		"PYTHONSAFEPATH":          "1",
	}
	if goruntime.GOOS == "darwin" {
		env["LANG"] = "en_US.UTF-8"
	}
	scratch := append([]string{"HOME", "TMPDIR"}, c.Profile.Scratch...)
	for _, name := range scratch {
		dir := filepath.Join(private, strings.ToLower(filepath.Base(name)))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		env[name] = dir
	}
	for name, value := range c.Profile.Env {
		rendered, err := c.render(value, host, port)
		if err != nil {
			return nil, err
		}
		env[name] = rendered
	}
	if env["PATH"] == "" {
		env["PATH"] = searchPath
	}
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out, nil
}
