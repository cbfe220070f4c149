// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// treeHeader is the first line of a tree: format name and version.
const treeHeader = "metalpack-tree 1"

// Caps on a tree file. That of vllm-metal has 27,000 entries in 4 MB; a reader
// holds five times the bytes.
const (
	MaxTree        = 24 << 20 // bytes
	MaxTreeEntries = 200_000
	MaxTreeDirs    = 100_000 // each costs a reader as much as a file, and a line can name sixty
	MaxTreeSize    = 1 << 42 // bytes of all files; sums of more would overflow
)

// File modes an environment may hold.
const (
	ModeFile       = 0o644
	ModeExecutable = 0o755
)

// TreeEntry is one file or symlink of an environment.
type TreeEntry struct {
	Path   string // relative to the payload root, see [CheckPath]
	Mode   uint32 // [ModeFile] or [ModeExecutable]; 0 for a symlink
	Size   int64  // bytes; 0 for a symlink
	SHA256 string // 64 lower-case hex digits; "" for a symlink
	Target string // where a symlink points; "" for a file
	Layer  string // name of the layer that carries it
}

// IsLink reports whether the entry is a symlink.
func (e TreeEntry) IsLink() bool { return e.Target != "" }

// Tree lists every file of an environment but metalpack/tree itself, sorted by
// path. Directories are not listed: they are the parents of what is.
//
// Its encoding is text: the header line, then one line per entry with six
// tab-separated fields: "f" or "l", mode in octal ("-" for links), size in
// decimal, sha256 or link target, layer, path.
type Tree struct {
	Entries []TreeEntry
}

// Encode returns the canonical bytes of the tree. Entries must be sorted.
func (t *Tree) Encode() []byte {
	b := make([]byte, 0, len(treeHeader)+1+160*len(t.Entries))
	b = append(b, treeHeader+"\n"...)
	for _, e := range t.Entries {
		b = append(e.AppendRow(b), '\n')
	}
	return b
}

// Row returns the entry's line, without the newline. Layer identities are
// computed over rows too.
func (e TreeEntry) Row() string { return string(e.AppendRow(nil)) }

// AppendRow appends the entry's line, without the newline, to b.
func (e TreeEntry) AppendRow(b []byte) []byte {
	if e.IsLink() {
		b = append(append(b, "l\t-\t0\t"...), e.Target...)
	} else {
		b = append(b, "f\t0000"...)
		mode := strconv.AppendUint(nil, uint64(e.Mode), 8)
		b = append(append(b[:max(len(b)-len(mode), len(b)-4)], mode...), '\t')
		b = append(strconv.AppendInt(b, e.Size, 10), '\t')
		b = append(b, e.SHA256...)
	}
	b = append(append(b, '\t'), e.Layer...)
	return append(append(b, '\t'), e.Path...)
}

// Size returns the bytes of all files.
func (t *Tree) Size() int64 {
	var n int64
	for _, e := range t.Entries {
		n += e.Size
	}
	return n
}

// TreeDigest is the digest of a tree's encoding.
func TreeDigest(encoded []byte) digest.Digest { return digest.FromBytes(encoded) }

// VersionID is the id of an installed version: the first 16 hex digits of its
// tree digest.
func VersionID(tree digest.Digest) string { return tree.Encoded()[:16] }

// ParseTree decodes and checks a tree: canonical form, sorted and unique
// paths, no two paths that one file system would take for the same file, no
// file or link that is the parent of another entry, links that stay inside.
// Errors wrap [ErrInvalid].
func ParseTree(data []byte) (*Tree, error) {
	bad := func(line int, format string, args ...any) error {
		return fmt.Errorf("tree: line %d: %w", line, fmt.Errorf(format+": %w", append(args, ErrInvalid)...))
	}
	if len(data) > MaxTree {
		return nil, fmt.Errorf("tree: %d bytes, more than %d: %w", len(data), MaxTree, ErrInvalid)
	}
	body, ok := strings.CutPrefix(string(data), treeHeader+"\n")
	if !ok {
		return nil, bad(1, "want %q", treeHeader)
	}
	if body != "" && !strings.HasSuffix(body, "\n") {
		return nil, fmt.Errorf("tree: last line is cut: %w", ErrInvalid)
	}
	t := &Tree{Entries: make([]TreeEntry, 0, strings.Count(body, "\n"))}
	if cap(t.Entries) > MaxTreeEntries {
		return nil, fmt.Errorf("tree: more than %d entries: %w", MaxTreeEntries, ErrInvalid)
	}
	line, left := 1, int64(MaxTreeSize)
	var canonical []byte
	for row := range strings.Lines(body) {
		line++
		row = strings.TrimSuffix(row, "\n")
		e, err := parseRow(row)
		if err != nil {
			return nil, bad(line, "%w", err)
		}
		if n := len(t.Entries); n > 0 && t.Entries[n-1].Path >= e.Path {
			return nil, bad(line, "%q is not sorted after %q", e.Path, t.Entries[n-1].Path)
		}
		if e.Size > left {
			return nil, bad(line, "files of more than %d bytes", int64(MaxTreeSize))
		}
		left -= e.Size
		if canonical = e.AppendRow(canonical[:0]); string(canonical) != row {
			return nil, bad(line, "not in canonical form")
		}
		t.Entries = append(t.Entries, e)
	}
	return t, CheckCollisions(t.Entries)
}

func parseRow(row string) (e TreeEntry, err error) {
	f := strings.Split(row, "\t")
	if len(f) != 6 {
		return e, fmt.Errorf("%d fields, want 6: %w", len(f), ErrInvalid)
	}
	e.Layer, e.Path = f[4], f[5]
	if err := CheckPath(e.Path); err != nil {
		return e, err
	}
	if e.Layer == "" {
		return e, fmt.Errorf("%q: no layer: %w", e.Path, ErrInvalid)
	}
	switch f[0] {
	case "l":
		e.Target = f[3]
		return e, CheckLink(e.Path, e.Target)
	case "f":
	default:
		return e, fmt.Errorf("%q: unknown type %q: %w", e.Path, f[0], ErrInvalid)
	}
	mode, err := strconv.ParseUint(f[1], 8, 32)
	if err != nil || (mode != ModeFile && mode != ModeExecutable) {
		return e, fmt.Errorf("%q: mode %q: %w", e.Path, f[1], ErrInvalid)
	}
	size, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil || size < 0 {
		return e, fmt.Errorf("%q: size %q: %w", e.Path, f[2], ErrInvalid)
	}
	if raw, err := hex.DecodeString(f[3]); err != nil || len(raw) != 32 || strings.ToLower(f[3]) != f[3] {
		return e, fmt.Errorf("%q: sha256 %q: %w", e.Path, f[3], ErrInvalid)
	}
	e.Mode, e.Size, e.SHA256 = uint32(mode), size, f[3]
	return e, nil
}

// CheckCollisions reports the first two entries that cannot stand side by
// side: equal under [CollisionKey], in directories whose names differ only in
// case or normalisation, or one a parent of the other. More than [MaxTreeDirs]
// directories are refused too. The error wraps [ErrInvalid].
func CheckCollisions(entries []TreeEntry) error {
	var seen Collisions
	seen.Grow(len(entries))
	for i := range entries {
		if old, p, ok := seen.Add(entries[i].Path, i); ok {
			return collision(old.Path, p)
		}
		if len(seen.seen)-(i+1) > MaxTreeDirs {
			return fmt.Errorf("%q: more than %d directories: %w", entries[i].Path, MaxTreeDirs, ErrInvalid)
		}
	}
	return nil
}

// Collisions finds two paths that one file system would take for one file, or
// for a file and a directory. The zero value is ready.
type Collisions struct {
	seen map[string]Claim // by CollisionKey
	last string           // directory of the path before
}

// Claim is a path that was added, or a directory above one.
type Claim struct {
	Path string
	By   int // what the caller named when it was added first
	dir  bool
}

// Grow makes room for n more paths.
func (c *Collisions) Grow(n int) {
	if c.seen == nil {
		c.seen = make(map[string]Claim, n+n/4)
	}
}

// Add adds the path of a file. If it, or a directory above it, collides with
// what was added before, ok is true, p is that path or directory and old what
// is there already. Neighbours in one directory are cheap.
func (c *Collisions) Add(file string, by int) (old Claim, p string, ok bool) {
	c.Grow(0)
	for dir := parent(file); dir != "" && dir != c.last; dir = parent(dir) {
		key := CollisionKey(dir)
		old, ok := c.seen[key]
		if ok && old.dir && old.Path == dir {
			break // its parents were checked with it
		}
		if ok {
			return old, dir, true
		}
		c.seen[key] = Claim{dir, by, true}
	}
	c.last = parent(file)
	key := CollisionKey(file)
	if old, ok := c.seen[key]; ok {
		return old, file, true
	}
	c.seen[key] = Claim{Path: file, By: by}
	return Claim{}, "", false
}

// parent is the directory of a clean path, or "".
func parent(p string) string { return p[:max(strings.LastIndexByte(p, '/'), 0)] }

func collision(a, b string) error {
	if a == b {
		return fmt.Errorf("%q appears twice, or as a file and a directory: %w", a, ErrInvalid)
	}
	return fmt.Errorf("%q and %q are one file on a case-insensitive disk: %w", a, b, ErrInvalid)
}

// Find returns the entry at path.
func (t *Tree) Find(p string) (TreeEntry, bool) {
	i, ok := slices.BinarySearchFunc(t.Entries, p, func(e TreeEntry, p string) int { return strings.Compare(e.Path, p) })
	if !ok {
		return TreeEntry{}, false
	}
	return t.Entries[i], true
}
