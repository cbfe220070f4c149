// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"archive/tar"
	"fmt"
	"path"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// Bytes of tar that one entry may take besides its content: a PAX header and
// its records, the header itself and padding.
const entryOverhead = 4*512 + 2*bundle.MaxPath

// checkHeader checks everything in a header but the name. archive/tar returns
// nearly anything that can be parsed, sparse files and "../" included.
func checkHeader(h *tar.Header) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("tar: %q: %s: %w", shorten(h.Name), fmt.Sprintf(format, args...), bundle.ErrInvalid)
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if h.Mode != bundle.ModeFile && h.Mode != bundle.ModeExecutable {
			return bad("mode %#o", h.Mode)
		}
	case tar.TypeDir:
		if h.Mode != 0o755 || h.Size != 0 {
			return bad("directory with mode %#o and size %d", h.Mode, h.Size)
		}
	case tar.TypeSymlink:
		if h.Mode != 0o777 || h.Size != 0 {
			return bad("symlink with mode %#o and size %d", h.Mode, h.Size)
		}
	case tar.TypeLink:
		return bad("hard links are refused")
	default:
		return bad("type %q is refused", h.Typeflag)
	}
	if h.Format&^(tar.FormatUSTAR|tar.FormatPAX) != 0 || h.Format == tar.FormatUnknown {
		return bad("format %s, want USTAR or PAX", h.Format)
	}
	for key := range h.PAXRecords {
		if key != "path" && key != "linkpath" && key != "size" {
			return bad("PAX record %q", shorten(key))
		}
	}
	if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" {
		return bad("owner %d:%d %q:%q, want 0:0 without names", h.Uid, h.Gid, shorten(h.Uname), shorten(h.Gname))
	}
	if h.Devmajor != 0 || h.Devminor != 0 {
		return bad("device numbers")
	}
	if h.Typeflag != tar.TypeSymlink && h.Linkname != "" {
		return bad("a link target")
	}
	return nil
}

// entryPath returns the path below the payload root, "" for the root itself.
func entryPath(h *tar.Header, root string) (string, error) {
	name := h.Name
	if h.Typeflag == tar.TypeDir {
		cut, ok := strings.CutSuffix(name, "/")
		if !ok {
			return "", fmt.Errorf("tar: directory %q without a slash: %w", shorten(name), bundle.ErrInvalid)
		}
		name = cut
	}
	if err := bundle.CheckPath(name); err != nil {
		return "", fmt.Errorf("tar: %w", err)
	}
	if name == root && h.Typeflag == tar.TypeDir {
		return "", nil
	}
	p, ok := strings.CutPrefix(name, root+"/")
	if !ok {
		return "", fmt.Errorf("tar: %q is not under %s/: %w", shorten(name), root, bundle.ErrInvalid)
	}
	return p, nil
}

func shorten(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

// expected is what the tree says a layer holds.
type expected struct {
	layer string
	root  string
	files map[string]bundle.TreeEntry
	dirs  map[string]bool // seen yet?
	seen  map[string]bool
}

// expect selects the rows of one layer.
func expect(tree *bundle.Tree, layer, root string) *expected {
	x := &expected{layer: layer, root: root, files: map[string]bundle.TreeEntry{}, dirs: map[string]bool{"": false}, seen: map[string]bool{}}
	for _, e := range tree.Entries {
		if e.Layer != layer {
			continue
		}
		x.files[e.Path] = e
		for d := path.Dir(e.Path); d != "."; d = path.Dir(d) {
			if _, ok := x.dirs[d]; ok {
				break
			}
			x.dirs[d] = false
		}
	}
	return x
}

// budget is the most bytes that an honest tar of the layer has.
func (x *expected) budget() int64 {
	n := int64(len(x.files)+len(x.dirs)+1) * entryOverhead
	for _, e := range x.files {
		n += e.Size
	}
	return n + 2*512
}

// match checks a header against the tree. The entry is the zero value for a
// directory.
func (x *expected) match(h *tar.Header) (e bundle.TreeEntry, err error) {
	if err := checkHeader(h); err != nil {
		return e, err
	}
	p, err := entryPath(h, x.root)
	if err != nil {
		return e, err
	}
	if h.Typeflag == tar.TypeDir {
		seen, ok := x.dirs[p]
		if !ok || seen {
			return e, fmt.Errorf("tar: directory %q: twice, or not a parent of a file of layer %s: %w", p, x.layer, bundle.ErrInvalid)
		}
		x.dirs[p] = true
		return e, nil
	}
	e, ok := x.files[p]
	switch {
	case !ok:
		return e, fmt.Errorf("tar: %q is not in the tree of layer %s: %w", p, x.layer, bundle.ErrInvalid)
	case x.seen[p]:
		return e, fmt.Errorf("tar: %q appears twice: %w", p, bundle.ErrInvalid)
	case e.IsLink() != (h.Typeflag == tar.TypeSymlink) || e.Target != h.Linkname:
		return e, fmt.Errorf("tar: %q -> %q, the tree says %q: %w", p, shorten(h.Linkname), e.Target, bundle.ErrInvalid)
	case !e.IsLink() && (int64(e.Mode) != h.Mode || e.Size != h.Size):
		return e, fmt.Errorf("tar: %q has mode %04o and %d bytes, the tree says %04o and %d: %w", p, h.Mode, h.Size, e.Mode, e.Size, bundle.ErrInvalid)
	}
	x.seen[p] = true
	return e, nil
}

// complete reports the first file that has not come.
func (x *expected) complete() error {
	if len(x.seen) == len(x.files) {
		return nil
	}
	first := ""
	for p := range x.files {
		if !x.seen[p] && (first == "" || p < first) {
			first = p
		}
	}
	return fmt.Errorf("%d of %d files did not come, %q among them: %w", len(x.files)-len(x.seen), len(x.files), first, bundle.ErrInvalid)
}
