// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// file is one file of an origin that may become a layer.
type file struct {
	path     string // in the model, slash-separated
	size     int64
	kind     Kind
	digest   digest.Digest // "" until it is known
	head     digest.Digest // of the first headSize bytes, which the model was described from
	headSize int64
	read     bool // whole, before it is hashed
	pointer  bool // of Git LFS: a finding of its own
}

// atTop reports whether a file lies beside config.json.
func (f *file) atTop() bool { return !strings.Contains(f.path, "/") }

// scan is an origin as it was read, with what is wrong with it.
type scan struct {
	origin   Origin
	name     string
	exclude  []string
	allow    []string
	events   bundle.EventFunc
	facts    Facts
	files    []*file // sorted by path
	findings []Finding
	foreign  bool  // not a language model at all; what one would need is not missed
	failed   error // the first error that is not the model's fault

	config   *Config
	headers  []*Header
	tensors  map[string]map[string]bool // by file at the top, then by tensor
	template string                     // chat template, wherever it stands
}

// newScan lists an origin and reads what says what the model is.
func newScan(ctx context.Context, origin Origin, o Options) (*scan, error) {
	if err := CheckRules(o.Allow); err != nil {
		return nil, err
	}
	if err := CheckPatterns(o.Exclude); err != nil {
		return nil, err
	}
	stated, err := o.Facts.check()
	if err != nil {
		return nil, err
	}
	listing, err := origin.List(ctx)
	if err != nil {
		return nil, err
	}
	known, err := listing.Facts.check()
	if err != nil {
		return nil, err
	}
	s := &scan{origin: origin, name: listing.Name, exclude: o.Exclude, allow: o.Allow, events: o.Events, tensors: map[string]map[string]bool{}}
	if err := s.addAll(listing.Files); err != nil {
		return nil, err
	}
	s.lintNames()
	s.readConfigs(ctx)
	s.readTemplate(ctx)
	s.facts = stated.or(known).or(s.readCard(ctx))
	s.lintFiles(ctx)
	s.readWeights(ctx)
	s.lintShards(ctx)
	s.lintTensors()
	sort.SliceStable(s.findings, func(i, j int) bool { return s.findings[i].rank() < s.findings[j].rank() })
	return s, s.failed
}

// CheckPatterns refuses what Options.Exclude and PullOptions.Include may not
// have. The error wraps [bundle.ErrInvalid].
func CheckPatterns(patterns []string) error {
	for _, pattern := range patterns {
		if !doublestar.ValidatePattern(pattern) {
			return invalid("pattern %q is not sound; want one like *.py or original/**", pattern)
		}
	}
	return nil
}

// matches reports whether a pattern is meant for a path or its last component.
func matches(pattern, p string) bool {
	return doublestar.MatchUnvalidated(pattern, p) || doublestar.MatchUnvalidated(pattern, path.Base(p))
}

// addAll takes over the files that belong to the model.
func (s *scan) addAll(files []OriginFile) error {
	sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	told := map[string]bool{}
	for _, f := range files {
		if at, reason := s.leftOut(f.Path); reason != "" {
			if !told[at] {
				s.events.Emit(bundle.Event{Kind: bundle.EventSkipped, What: at, Reason: reason})
			}
			told[at] = true
			continue
		}
		switch {
		case f.Type == fs.ModeSymlink:
			s.find(RuleSymlink, SeverityError, f.Path, "a symlink; nobody can tell what it will point to", "put the file itself there (cp -L), or --exclude it")
			continue
		case f.Type != 0:
			s.find(RuleFileType, SeverityError, f.Path, "not a regular file", fmt.Sprintf("--exclude %q", f.Path))
			continue
		}
		d, err := f.digestOf()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		s.files = append(s.files, &file{path: f.Path, size: f.Size, kind: KindOf(f.Path), digest: d})
	}
	return nil
}

// leftOut says why a path is not part of the model, and which part of it says
// so; the reason is "" if it belongs there.
func (s *scan) leftOut(p string) (at, reason string) {
	for i := 0; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		at = p[:i]
		if strings.HasPrefix(path.Base(at), ".") && at != "" && path.Base(at) != ".." {
			return at, "hidden"
		}
		for _, pattern := range s.exclude {
			if matches(pattern, at) {
				return at, "excluded by " + pattern
			}
		}
	}
	return "", ""
}

// lintNames finds paths that are refused on read.
func (s *scan) lintNames() {
	var good []bundle.TreeEntry
	for _, f := range s.files {
		if err := bundle.CheckPath(f.path); err != nil {
			s.find(RuleName, SeverityError, f.path, strings.TrimPrefix(err.Error(), fmt.Sprintf("path %q: ", f.path)), "rename it")
			continue
		}
		good = append(good, bundle.TreeEntry{Path: f.path})
	}
	if err := bundle.CheckCollisions(good); err != nil {
		s.find(RuleName, SeverityError, "", err.Error(), "rename one of them")
	}
}

// has reports whether one of the names is at the top.
func (s *scan) has(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return s.lookup(name) != nil })
}

func (s *scan) lookup(p string) *file {
	i, ok := slices.BinarySearchFunc(s.files, p, func(f *file, p string) int { return cmp.Compare(f.path, p) })
	if !ok {
		return nil
	}
	return s.files[i]
}

// read returns a small file of the model; ok is false if it is not there or
// cannot be read, and then the reason is found under rule. What was read is
// what will be packed: its digest is known from then on.
func (s *scan) read(ctx context.Context, name, rule string, limit int64) (data []byte, ok bool) {
	f := s.lookup(name)
	if f == nil || s.failed != nil {
		return nil, false
	}
	if f.size > limit {
		s.find(rule, SeverityError, name, fmt.Sprintf("%d bytes, more than %d", f.size, limit), "put a sound file there")
		return nil, false
	}
	data, err := s.readAll(ctx, f)
	if err != nil {
		s.fail(f, err)
		return nil, false
	}
	return data, true
}

// readAll reads a file whose size was checked.
func (s *scan) readAll(ctx context.Context, f *file) (data []byte, err error) {
	in, err := s.origin.Open(ctx, f.path, 0)
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, in)
	if data, err = io.ReadAll(io.LimitReader(ctxio.Reader(ctx, in), f.size+1)); err != nil {
		return nil, err
	}
	d := digest.FromBytes(data)
	if int64(len(data)) != f.size || (f.digest != "" && f.digest != d) {
		return nil, changed(f)
	}
	f.digest, f.read = d, true
	f.pointer = len(data) <= maxPointer && strings.HasPrefix(string(data), lfsMark)
	return data, nil
}

// fail keeps the first error that reading met.
func (s *scan) fail(f *file, err error) {
	if s.failed == nil {
		s.failed = f.named(err)
	}
}

// named puts the path on an error that does not hold it: some origins know
// files by their digest alone.
func (f *file) named(err error) error {
	if err == nil || strings.Contains(err.Error(), f.path) {
		return err
	}
	return fmt.Errorf("%s: %w", f.path, err)
}

func changed(f *file) error {
	return fmt.Errorf("%s: changed while it was read, or not what its origin says: %w", f.path, bundle.ErrMismatch)
}

// readObject reads a file of JSON with the keys that Python's reader would see.
func (s *scan) readObject(ctx context.Context, name, rule string) (o object, ok bool) {
	data, ok := s.read(ctx, name, rule, MaxConfigFile)
	if !ok || s.lookup(name).pointer {
		return nil, false
	}
	if err := decodeObject(data, &o); err != nil {
		s.find(rule, SeverityError, name, err.Error(), "put sound JSON there")
		return nil, false
	}
	return o, true
}

// readCard reads the front matter of the model card.
func (s *scan) readCard(ctx context.Context) Facts {
	f := s.lookup("README.md")
	if f == nil || f.size > maxCard || s.failed != nil {
		return Facts{}
	}
	data, err := s.readAll(ctx, f)
	if err != nil {
		s.fail(f, err)
	}
	return parseCard(data)
}

// extension is the lower-case extension of a path.
func extension(p string) string { return strings.ToLower(path.Ext(p)) }

// readable reports whether an error says that the bytes are bad, rather than
// that they did not come.
func readable(err error) bool { return err == nil || errors.Is(err, bundle.ErrInvalid) }
