// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// file is one file of a directory that may become a layer.
type file struct {
	path   string // in the model, slash-separated
	disk   string // on disk, links resolved
	size   int64
	kind   Kind
	digest digest.Digest // "" until it is hashed
}

// scan is a directory as it was read, with what is wrong with it.
type scan struct {
	dir      string
	exclude  []string
	allow    []string
	events   bundle.EventFunc
	cache    string // blobs directory of a Hugging Face cache; "" = follow no link
	files    []*file
	findings []Finding

	config            *Config
	headers           []*Header
	tensors           map[string]map[string]bool // by file at the top, then by tensor
	tokenizerTemplate bool                       // tokenizer_config.json holds a chat template
}

// newScan lists a directory, sorted by path, and reads what says what the
// model is.
func newScan(dir string, o Options) (*scan, error) {
	if err := checkAllow(o.Allow); err != nil {
		return nil, err
	}
	for _, pattern := range o.Exclude {
		if !doublestar.ValidatePattern(pattern) {
			return nil, invalid("pattern %q", pattern)
		}
	}
	resolved, err := filepath.EvalSymlinks(dir) // the directory itself may be a link; what is in it may not
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("model directory %s: %w", dir, bundle.ErrNotFound)
	case err != nil:
		return nil, err
	}
	if info, err := os.Stat(resolved); err != nil || !info.IsDir() {
		return nil, invalid("model %s: not a directory", dir)
	}
	s := &scan{dir: resolved, exclude: o.Exclude, allow: o.Allow, events: o.Events, tensors: map[string]map[string]bool{}}
	if s.cache, err = hubCache(resolved); err != nil {
		return nil, err
	}
	if err := filepath.WalkDir(resolved, s.visit); err != nil {
		return nil, err
	}
	s.lintNames()
	s.readConfig()
	s.lintFiles()
	if err := s.readWeights(); err != nil {
		return nil, err
	}
	s.lintShards()
	return s, nil
}

// hubCache returns the blobs directory that belongs to a snapshot of a Hugging
// Face cache (models--org--name/snapshots/<commit>): there, and only there,
// links are how files are stored.
func hubCache(dir string) (string, error) {
	resolved, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	snapshots := filepath.Dir(resolved)
	repo := filepath.Dir(snapshots)
	if filepath.Base(snapshots) != "snapshots" || !strings.HasPrefix(filepath.Base(repo), "models--") {
		return "", nil
	}
	return filepath.Join(repo, "blobs"), nil
}

func (s *scan) visit(disk string, d fs.DirEntry, err error) error {
	if err != nil || disk == s.dir {
		return err
	}
	rel, err := filepath.Rel(s.dir, disk)
	if err != nil {
		return err
	}
	p := filepath.ToSlash(rel)
	if reason := s.leftOut(p); reason != "" {
		s.events.Emit(bundle.Event{Kind: bundle.EventSkipped, What: p, Reason: reason})
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	if d.IsDir() {
		return nil
	}
	f := &file{path: p, disk: disk, kind: KindOf(p)}
	if d.Type()&fs.ModeSymlink != 0 {
		if f.disk = s.follow(disk); f.disk == "" {
			s.find(RuleSymlink, SeverityError, p, "a symlink; nobody can tell what it will point to", "put the file itself there, or --exclude it")
			return nil
		}
	}
	info, err := os.Lstat(f.disk)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		s.find(RuleFileType, SeverityError, p, "not a regular file", fmt.Sprintf("--exclude %q", p))
		return nil
	}
	f.size = info.Size()
	s.files = append(s.files, f)
	return nil
}

// leftOut says why a path is not part of the model, or "".
func (s *scan) leftOut(p string) string {
	if strings.HasPrefix(path.Base(p), ".") {
		return "hidden"
	}
	for _, pattern := range s.exclude {
		if doublestar.MatchUnvalidated(pattern, p) || doublestar.MatchUnvalidated(pattern, path.Base(p)) {
			return "excluded by " + pattern
		}
	}
	return ""
}

// follow resolves a link of a Hugging Face cache; "" if it leads elsewhere.
func (s *scan) follow(disk string) string {
	if s.cache == "" {
		return ""
	}
	resolved, err := filepath.EvalSymlinks(disk)
	if err != nil {
		return ""
	}
	if resolved, err = filepath.Abs(resolved); err != nil || filepath.Dir(resolved) != s.cache {
		return ""
	}
	return resolved
}

// lintNames finds paths that are refused on read.
func (s *scan) lintNames() {
	var good []bundle.TreeEntry
	for _, f := range s.files {
		if err := bundle.CheckPath(f.path); err != nil {
			s.find(RuleName, SeverityError, f.path, err.Error(), "rename it")
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
	for _, name := range names {
		if s.lookup(name) != nil {
			return true
		}
	}
	return false
}

func (s *scan) lookup(p string) *file {
	for _, f := range s.files {
		if f.path == p {
			return f
		}
	}
	return nil
}

// read returns a small file of the model; ok is false if it is not there or
// cannot be read, and then the reason is found under rule.
func (s *scan) read(name, rule string) (data []byte, ok bool) {
	f := s.lookup(name)
	if f == nil {
		return nil, false
	}
	data, err := readSmall(f.disk, f.size)
	if err != nil {
		s.find(rule, SeverityError, name, err.Error(), "put a sound file there")
	}
	return data, err == nil
}

func readSmall(disk string, size int64) (data []byte, err error) {
	if size > MaxConfigFile {
		return nil, invalid("%d bytes, more than %d", size, MaxConfigFile)
	}
	f, err := os.Open(disk)
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, f)
	return io.ReadAll(io.LimitReader(f, MaxConfigFile))
}

// extension is the lower-case extension of a path.
func extension(p string) string { return strings.ToLower(path.Ext(p)) }
