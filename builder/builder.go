// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package builder owns the way from an interpreter archive and wheels to an
// environment as an OCI artifact.
//
// Start with [Recall] and, if it knows nothing, [NewPlan] and [Plan.Build]; then
// [Assemble], whose [Artifact] is a [bundle.Source] that any target can be filled
// from.
//
// # How it works
//
// A plan knows every file of the environment with its size and sha256 before
// anything is inflated: those of the wheels come from their RECORDs, those of the
// interpreter from one pass over its archive, which the cache remembers by the
// archive's sha256. From them follow collisions, the tree, the layers and their
// identities. Building streams each layer once, from the archives through tar
// into the digest of the stream and the compressors; nothing is unpacked to disk
// but a compressed interpreter archive. While the disk takes one layer the
// processors have the next, the largest first; compressors are used again, so
// that memory grows with the layers at once and not with the environment. Blobs
// are kept in a cache by layer identity, codec, library version and level, so
// that an unchanged wheel is never compressed again.
//
// # What the caller promises
//
// The files of [Input] have the sha256 that stands beside them: package
// builder/inputs hands out no others, and to hash half a gigabyte again would
// cost more than all else of a build that has nothing to do. Size, ZIP headers,
// CRC of RECORD and the sha256 of each file in it are checked here all the same,
// so that what is damaged later ends the build.
//
// # Promises
//
// The same input gives the same uncompressed layers everywhere, and with the same
// version of this program the same digests: no clock, no host name, no order of a
// directory, no umask enters. Layers change only with their content: one for the
// interpreter, one for every wheel of [LargeWheel] bytes and more, 16 buckets for
// the rest, and the metadata last. No path lies in two layers. Whatever the
// inputs disagree about is an error that names them, unless the recipe decided
// it; decisions are recorded in the environment. Nothing here uses the network.
package builder

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/metalpack/metalpack/builder/macho"
	"github.com/metalpack/metalpack/builder/wheel"
	"github.com/metalpack/metalpack/bundle"
)

// LargeWheel is the size in bytes from which a wheel has a layer of its own.
const LargeWheel = 1 << 20

// Buckets is the number of layers that small wheels share.
const Buckets = 16

// maxParallel bounds memory on large machines: compressors hold about 30 MB
// for each layer in work.
const maxParallel = 16

// Kinds of a decision, in [Input].Decisions.
const (
	DecisionExclude = "exclude" // the package is left out
	DecisionWinner  = "winner"  // Package owns the files at Path, when wheels disagree
	DecisionWaive   = "waive"   // Rule does not count for Package; for "", the interpreter
)

// Input is all that an environment for one platform is made of.
type Input struct {
	Name          string          // payload root and install directory
	Release       string          // what the tag says
	Platform      bundle.Platform // with its floor
	PythonVersion string          // major.minor; "" = that of Interpreter.Version
	Interpreter   Interpreter
	Wheels        []Wheel
	Strip         []string          // doublestar patterns, relative to the root
	Decisions     []bundle.Decision // exclude, winner and waive are obeyed; others are recorded only

	Launch     map[string]bundle.Profile
	Probes     []bundle.Probe
	RecipeYAML []byte // the merged recipe
	LockTOML   []byte

	CacheDir string           // layers and unpacked interpreters
	Gzip     int              // level 1 to 9 or GzipJoin; 0 = 6, -1 = no gzip manifest
	Zstd     string           // fast, release, best; "" = fast, "none" = no zstd manifest
	Parallel int              // layers at once; 0 = one per processor, at most 16
	Events   bundle.EventFunc `json:"-"` // nil = none

	used  map[bundle.Decision]bool // decisions that made a difference
	strip []stripPattern           // Strip, made ready

	budget *wheel.Budget // of all wheels; nil = the usual one
}

// Interpreter is a python-build-standalone install_only archive: .tar, .tar.gz
// or .tar.zst, told by its first bytes.
type Interpreter struct {
	File    string // name of the archive, for messages; "" = that of Path
	Path    string
	SHA256  string // of the archive, hex; checked when the archive is read for the first time
	Version string // 3.12.16
}

func (i Interpreter) name() string { return cmp.Or(i.File, filepath.Base(i.Path)) }

// Wheel is one wheel file of the lock.
type Wheel struct {
	Name    string
	Version string
	File    string       // file name
	Path    string       // where its bytes are
	SHA256  string       // hex; the caller has checked it
	Size    int64        // 0 = not known
	Origin  wheel.Origin // where it comes from if it is on no index: installed as direct_url.json
}

// check completes in and reports what cannot be built. The error wraps
// [bundle.ErrInvalid].
func (in *Input) check() error {
	if err := bundle.CheckName(in.Name); err != nil {
		return err
	}
	if in.PythonVersion == "" {
		in.PythonVersion = in.Interpreter.Version
	}
	parts := strings.Split(in.PythonVersion, ".")
	if len(parts) < 2 {
		return fmt.Errorf("python version %q: want major.minor: %w", in.PythonVersion, bundle.ErrInvalid)
	}
	in.PythonVersion = parts[0] + "." + parts[1]
	if in.CacheDir == "" {
		return fmt.Errorf("no cache directory given: %w", bundle.ErrInvalid)
	}
	in.strip = make([]stripPattern, 0, len(in.Strip))
	for _, p := range in.Strip {
		if !doublestar.ValidatePattern(p) {
			return fmt.Errorf("strip: pattern %q: %w", p, bundle.ErrInvalid)
		}
		in.strip = append(in.strip, newStripPatterns(p)...)
	}
	for _, d := range in.Decisions {
		known := Rules()
		if d.Package == "" {
			known = macho.Rules()
		}
		if d.Kind == DecisionWaive && !slices.Contains(known, d.Rule) {
			return fmt.Errorf("waive for %s: rule %q is not among %s: %w", cmp.Or(d.Package, ownerInterpreter), d.Rule, strings.Join(known, ", "), bundle.ErrInvalid)
		}
	}
	in.used = map[bundle.Decision]bool{}
	if in.budget == nil {
		in.budget = wheel.NewBudget(0, 0)
	}
	if in.Parallel <= 0 {
		in.Parallel = min(goruntime.GOMAXPROCS(0), maxParallel)
	}
	_, err := in.codecs()
	return err
}

// decided returns the decisions of a kind about a package; "" means all.
func (in *Input) decided(kind, pkg string) (found []bundle.Decision) {
	for _, d := range in.Decisions {
		if d.Kind == kind && (pkg == "" || wheel.Normalize(d.Package) == pkg) {
			found = append(found, d)
		}
	}
	return found
}

// noteUnused tells of winners and waivers that nothing needed, among those that
// which chooses: a typing error, or a reason that is gone. They are no error,
// because a recipe may have them for another platform.
func (in *Input) noteUnused(which func(bundle.Decision) bool) {
	for _, d := range in.Decisions {
		if in.used[d] || d.Kind != DecisionWinner && d.Kind != DecisionWaive || !which(d) {
			continue
		}
		where := "wheels"
		if d.Package == "" {
			where = "interpreter"
		}
		about := slices.DeleteFunc([]string{d.Package, d.Rule, d.Path}, func(s string) bool { return s == "" })
		in.Events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: fmt.Sprintf("%s.%s (%s) matched nothing on %s", where, d.Kind, strings.Join(about, ", "), in.Platform)})
	}
}

// site is where modules go, relative to the root.
func (in *Input) site() string { return "lib/python" + in.PythonVersion + "/site-packages" }

// alive returns the reason why ctx ended, or nil.
func alive(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
