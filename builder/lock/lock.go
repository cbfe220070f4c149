// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package lock owns lock files: pylock.toml (PEP 751), read strictly and
// written without addresses, and uv, the resolver that makes them.
//
// [Parse] reads a lock, [Lock.Select] evaluates it for a declared target into
// [Wheel] rows, [Resolve] asks uv for a new one, [Convert] makes one of a
// requirements file with hashes, [Compare] tells what changed, and [Check]
// whether one is stale. [ForRecipe] is all that a build needs: lock, check,
// selection and the recipe's own decisions. [Locate] asks uv where files lie,
// known by sha256.
//
// # Identity, no address
//
// A lock that [Lock.Encode] writes says what a file is (name, size, sha256)
// and never where it lies: addresses rot, differ behind a mirror, and are not
// ours to freeze. Only a file that is on no index keeps its URL. Under
// [tool.metalpack] stand a checksum of what the resolver was asked and the
// names of the rows that the recipe brought as extra wheels.
//
// # Git commits
//
// A requirement "name @ git+https://…@COMMIT" becomes a wheel once, when the
// lock is made ([Sources]). The vcs row says where it came from, and under
// [packages.tool.metalpack] which wheel was made of it; builds use that wheel
// and know nothing of git.
//
// It promises that selection never looks at the host, and that rows which name
// no bytes (sdist, vcs, directory, no sha256) are refused, not skipped.
package lock

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
)

// Sentinels of this package.
var (
	// ErrNoUV: uv is neither on PATH nor can it be installed.
	ErrNoUV = errors.New("uv is not available")
	// ErrNoGit: git is not on PATH.
	ErrNoGit = errors.New("git is not on PATH")
	// ErrStale: the lock does not belong to the recipe as it is now.
	ErrStale = errors.New("the lock is stale")
	// ErrYanked: the index says that a version is not to be used any more.
	ErrYanked = errors.New("yanked")
)

// Version is the lock-version this package writes.
const Version = "1.0"

// maxLock is the cap on a lock file, in bytes. One of 160 packages for a target
// has 40,000.
const maxLock = 4 << 20

// Lock is a decoded pylock.toml.
type Lock struct {
	LockVersion      string         `toml:"lock-version"`
	CreatedBy        string         `toml:"created-by"`
	RequiresPython   string         `toml:"requires-python"`
	Environments     []string       `toml:"environments"`
	Extras           []string       `toml:"extras"`
	DependencyGroups []string       `toml:"dependency-groups"`
	DefaultGroups    []string       `toml:"default-groups"`
	Packages         []Package      `toml:"packages"`
	Tool             map[string]any `toml:"tool"`
}

// Package is one [[packages]] row.
type Package struct {
	Name           string         `toml:"name"`
	Version        string         `toml:"version"`
	Marker         string         `toml:"marker"`
	RequiresPython string         `toml:"requires-python"`
	Dependencies   []any          `toml:"dependencies"`
	Index          string         `toml:"index"`
	VCS            map[string]any `toml:"vcs"`
	Directory      map[string]any `toml:"directory"`
	Archive        *File          `toml:"archive"`
	Sdist          map[string]any `toml:"sdist"`
	Wheels         []File         `toml:"wheels"`
	Attestations   []any          `toml:"attestation-identities"`
	Tool           map[string]any `toml:"tool"`
}

// File is a wheel or an archive of a row.
type File struct {
	Name         string            `toml:"name"`
	UploadTime   any               `toml:"upload-time"`
	URL          string            `toml:"url"`
	Path         string            `toml:"path"`
	Size         int64             `toml:"size"`
	Hashes       map[string]string `toml:"hashes"`
	Subdirectory string            `toml:"subdirectory"` // archives only
}

// Inputs is [tool.metalpack]: what the resolver was asked.
type Inputs struct {
	Platform string   // linux/amd64
	Floor    string   // glibc 2.35
	Checksum string   // sha256:…
	Extra    []string // packages whose rows are extra wheels of the recipe, sorted
}

// Inputs returns what [tool.metalpack] says; false when it is not there.
func (l *Lock) Inputs() (Inputs, bool) {
	table, ok := l.Tool["metalpack"].(map[string]any)
	if !ok {
		return Inputs{}, false
	}
	text := func(key string) string { s, _ := table[key].(string); return s }
	in := Inputs{Platform: text("platform"), Floor: text("floor"), Checksum: text("inputs")}
	if names, ok := table["extra"].([]any); ok {
		for _, name := range names {
			in.Extra = append(in.Extra, fmt.Sprint(name))
		}
	}
	return in, in.Checksum != ""
}

var (
	fileName   = regexp.MustCompile(`^pylock(\.[^.]+)?\.toml$`)
	normalName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// Parse decodes a lock file. A name that is no pylock name, a newer major
// version, an unknown key (unless a newer minor version explains it) and rows
// that break PEP 751 are errors that wrap [bundle.ErrInvalid].
func Parse(file string, data []byte) (*Lock, error) {
	if base := file[strings.LastIndexAny(file, `/\`)+1:]; !fileName.MatchString(base) {
		return nil, fmt.Errorf("%s: a lock is named pylock.toml or pylock.NAME.toml: %w", file, bundle.ErrInvalid)
	}
	if len(data) > maxLock {
		return nil, fmt.Errorf("%s: more than %d bytes: %w", file, maxLock, bundle.ErrInvalid)
	}
	l := new(Lock)
	err := checkShape(data)
	if err == nil {
		err = decode(data, l)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, err, bundle.ErrInvalid)
	}
	if err := l.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return l, nil
}

func decode(data []byte, l *Lock) error {
	var head struct {
		LockVersion string `toml:"lock-version"`
	}
	if err := toml.Unmarshal(data, &head); err != nil {
		return position(err)
	}
	major, minor, ok := strings.Cut(head.LockVersion, ".")
	n, err := strconv.Atoi(minor)
	if !ok || major != "1" || err != nil || n < 0 {
		return fmt.Errorf("lock-version %q, this program reads 1.x", head.LockVersion)
	}
	dec := toml.NewDecoder(bytes.NewReader(data))
	if n == 0 {
		dec.DisallowUnknownFields()
	}
	return position(dec.Decode(l))
}

// position turns the decoder's error into one with a place, in one line.
func position(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		row, col := strict.Errors[0].Position()
		return fmt.Errorf("%d:%d: unknown key %q", row, col, strings.Join(strict.Errors[0].Key(), "."))
	}
	if one, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, col := one.Position()
		return fmt.Errorf("%d:%d: %s", row, col, strings.TrimPrefix(one.Error(), "toml: "))
	}
	return err
}

func (l *Lock) validate() error {
	if l.CreatedBy == "" {
		return fmt.Errorf("created-by is missing: %w", bundle.ErrInvalid)
	}
	for i := range l.Packages {
		if err := l.Packages[i].validate(); err != nil {
			return fmt.Errorf("packages[%d] %s: %w", i, l.Packages[i].Name, err)
		}
	}
	return nil
}

// validate checks the shape of a row, whatever target it is for.
func (p *Package) validate() error {
	bad := func(why string) error { return fmt.Errorf("%s: %w", why, bundle.ErrInvalid) }
	if !normalName.MatchString(p.Name) {
		return bad(fmt.Sprintf("the name is not normalised, want %q", target.NormalizeName(p.Name)))
	}
	sources := 0
	for _, has := range []bool{p.VCS != nil, p.Directory != nil, p.Archive != nil, p.Sdist != nil || len(p.Wheels) > 0} {
		if has {
			sources++
		}
	}
	if sources != 1 {
		return bad("want exactly one source: vcs, directory, archive, or sdist and wheels")
	}
	if p.Version == "" && len(p.Wheels) > 0 {
		return bad("wheels without a version")
	}
	files := p.Wheels
	if p.Archive != nil {
		files = []File{*p.Archive}
	}
	for _, f := range files {
		if f.URL == "" && f.Path == "" {
			return bad("a file has neither path nor url")
		}
		if f.Size < 0 {
			return bad("a size is negative")
		}
		if len(f.Hashes) == 0 {
			return bad("a file has no hashes")
		}
		if _, ok := f.Hashes["sha256"]; ok && len(f.Hashes) > 1 {
			// Every hash of a row counts, and only this one is checked.
			return bad("a file has hashes besides sha256, which are not checked here")
		}
	}
	return nil
}

// row returns the first row of a package.
func (l *Lock) row(name string) (*Package, bool) {
	i := slices.IndexFunc(l.Packages, func(p Package) bool { return p.Name == name })
	if i < 0 {
		return nil, false
	}
	return &l.Packages[i], true
}
