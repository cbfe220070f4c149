// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// compileInput is one call of uv pip compile.
type compileInput struct {
	requirements string
	target       *target.Target
	noDeps       bool
	fresh        bool     // new versions are chosen: a yanked one is an error
	current      *Lock    // its versions are preferred
	update       []string // but not of these packages
}

// compile runs uv in an empty directory, so that no project's configuration
// but the user's own counts, and decodes what it wrote. Relative paths in the
// result become absolute.
func (u UV) compile(ctx context.Context, in compileInput) (_ *Lock, err error) {
	dir, err := os.MkdirTemp("", "metalpack-uv-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.WriteFile(filepath.Join(dir, "requirements.in"), []byte(in.requirements), 0o600); err != nil {
		return nil, err
	}
	argv := []string{
		u.Path, "pip", "compile", "requirements.in", "--no-header", "--no-annotate",
		"--python-version", in.target.PythonMinor(), "--python-platform", uvPlatform(in.target),
		"--only-binary", ":all:", "--format", "pylock.toml", "--output-file", "pylock.toml",
	}
	if in.noDeps {
		argv = append(argv, "--no-deps")
	}
	if in.current != nil {
		// What an output file holds already is preferred by uv, not demanded.
		if err := os.WriteFile(filepath.Join(dir, "pylock.toml"), in.current.preferences(), 0o600); err != nil {
			return nil, err
		}
		for _, name := range in.update {
			argv = append(argv, "--upgrade-package", name)
		}
	}
	said := new(cappedBuffer)
	if _, err := u.Runner.Run(ctx, Command{Dir: dir, Env: uvEnv(in.target), Argv: argv, Stderr: said}); err != nil {
		return nil, uvError(ctx, err)
	}
	if m := yanked.FindStringSubmatch(said.String()); m != nil && in.fresh {
		return nil, fmt.Errorf("%s is %w%s", m[1], ErrYanked, m[2])
	}
	data, err := readCapped(filepath.Join(dir, "pylock.toml"))
	if err != nil {
		return nil, fmt.Errorf("uv wrote no lock: %w", err)
	}
	l, err := Parse("pylock.toml", data)
	if err != nil {
		return nil, fmt.Errorf("what uv wrote: %w", err)
	}
	for i := range l.Packages {
		for j := range l.Packages[i].Wheels {
			if f := &l.Packages[i].Wheels[j]; f.Path != "" && !filepath.IsAbs(f.Path) {
				f.Path = filepath.Join(dir, f.Path)
			}
		}
	}
	return l, nil
}

// uvPlatform is uv's name for the target.
func uvPlatform(t *target.Target) string {
	p := t.Platform()
	if p.OS == "darwin" {
		return "aarch64-apple-darwin"
	}
	return t.Machine() + "-manylinux_" + strings.ReplaceAll(p.Glibc, ".", "_")
}

// uvEnv keeps uv from downloading a Python, and tells it the macOS floor:
// without it uv means macOS 13 and silently picks old releases.
func uvEnv(t *target.Target) []string {
	env := []string{"UV_PYTHON_DOWNLOADS=never", "UV_NO_PROGRESS=1", "NO_COLOR=1"}
	if floor := t.Platform().MacOS; floor != "" {
		env = append(env, "MACOSX_DEPLOYMENT_TARGET="+floor)
	}
	return env
}

// yanked is how uv warns of a version: its index advises against it.
var yanked = regexp.MustCompile("warning: `([^`]+)` is yanked( \\(reason: .*\\))?")

// preferences writes the versions of a lock as uv reads them from one: names
// and versions of what came from an index.
func (l *Lock) preferences() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "lock-version = %s\ncreated-by = \"metalpack\"\npackages = [\n", quote(Version))
	for _, p := range l.Packages {
		if len(p.Wheels) > 0 {
			fmt.Fprintf(&b, "  { name = %s, version = %s },\n", quote(p.Name), quote(p.Version))
		}
	}
	b.WriteString("]\n")
	return []byte(b.String())
}

func readCapped(name string) (_ []byte, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxLock {
		return nil, fmt.Errorf("%s: more than %d bytes: %w", filepath.Base(name), maxLock, bundle.ErrInvalid)
	}
	return os.ReadFile(name)
}

// unreachable are words by which uv says that it got no answer.
var unreachable = regexp.MustCompile(`(?i)failed to fetch|error sending request|dns error|connection refused|timed out|network|connectivity|tcp connect`)

// uvError classes what uv said.
func uvError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !unreachable.MatchString(err.Error()) {
		return fmt.Errorf("uv: %w: %w", redacted(err), bundle.ErrInvalid)
	}
	return fmt.Errorf("uv: the package index is %w: %w", bundle.ErrUnreachable, redacted(err))
}

var address = regexp.MustCompile(`https?://[^\s` + "`" + `'")]+`)

// otherPython is a remark that misleads: what is not built needs no Python.
var otherPython = regexp.MustCompile(`warning: The requested Python version [^\n]*\n`)

// redactedError shortens addresses to their host: an index may carry
// credentials, and is nobody's business in a log.
type redactedError struct{ error }

func redacted(err error) error { return redactedError{err} }

// Error returns the message without addresses.
func (e redactedError) Error() string {
	return address.ReplaceAllStringFunc(otherPython.ReplaceAllString(e.error.Error(), ""), func(s string) string {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" {
			return "(address)"
		}
		return u.Host
	})
}

// Unwrap returns the error with its addresses.
func (e redactedError) Unwrap() error { return e.error }

// Pin is one exact version.
type Pin struct{ Name, Version string }

// Location is where a file lies: exactly one is set. It lives in memory only
// and is never logged or stored.
type Location struct {
	URL  string
	Path string
}

// Locate asks uv, with the user's own configuration of indexes, where the
// files of exact versions lie for a target. The map is keyed by sha256 in hex.
// Errors wrap [bundle.ErrUnreachable] or [bundle.ErrInvalid].
func Locate(ctx context.Context, uv UV, t *target.Target, pins []Pin) (_ map[string]Location, err error) {
	var b strings.Builder
	for _, p := range pins {
		fmt.Fprintf(&b, "%s==%s\n", p.Name, p.Version)
	}
	l, err := uv.compile(ctx, compileInput{requirements: b.String(), target: t, noDeps: true})
	if err != nil {
		return nil, err
	}
	out := make(map[string]Location)
	for _, p := range l.Packages {
		for _, f := range p.Wheels {
			if sum := f.Hashes["sha256"]; sum != "" {
				out[sum] = Location{URL: f.URL, Path: f.Path}
			}
		}
	}
	return out, nil
}

// Write replaces the lock file of a recipe's target on disk. An embedded
// recipe cannot be written: the error wraps [bundle.ErrInvalid].
func Write(path string, l *Lock) error {
	if path == "" {
		return fmt.Errorf("the lock of an embedded recipe cannot be written; copy the recipe into a directory: %w", bundle.ErrInvalid)
	}
	return fsatomic.WriteFile(path, l.Encode(), 0o644)
}
