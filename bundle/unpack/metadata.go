// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Caps of the metadata layer.
const (
	MaxMetadata      = bundle.MaxTree + 32<<20 // decoded bytes
	MaxMetadataFiles = 64
	MaxEnvironment   = 8 << 20 // bytes of environment.json, which a reader holds several times over
)

// ErrNotEnvironment says that a manifest is that of something else, perhaps a
// model.
var ErrNotEnvironment = errors.New("not a metalpack environment")

// Contents is what the metadata layer of an environment holds.
type Contents struct {
	Layer       bundle.Descriptor // the layer
	Environment *bundle.Environment
	Tree        *bundle.Tree
	TreeDigest  digest.Digest     // of the tree, as the manifest's annotation has it, if there is one
	Files       map[string][]byte // every file of the layer by its path, [bundle.TreePath] included
}

// Metadata finds the metadata layer of an environment's manifest and reads it
// through open, which is given that layer. Errors: [ErrNotEnvironment], which wraps
// [bundle.ErrInvalid] too, if there is none; [bundle.ErrMismatch] if the tree is not
// the one that the manifest names; those of open, and else as for [Layer].
func Metadata(ctx context.Context, m *ocispec.Manifest, open func(context.Context, bundle.Descriptor) (io.ReadCloser, error)) (c *Contents, err error) {
	i := slices.IndexFunc(m.Layers, func(l bundle.Descriptor) bool { return l.Annotations[bundle.AnnotationLayer] == bundle.MetadataLayer })
	if i < 0 {
		return nil, fmt.Errorf("no layer %q: %w: %w", bundle.MetadataLayer, ErrNotEnvironment, bundle.ErrInvalid)
	}
	c = &Contents{Layer: m.Layers[i]}
	rc, err := open(ctx, c.Layer)
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, rc)
	c.Environment, c.Tree, c.Files, err = readMetadata(ctx, rc, c.Layer, m.Annotations[bundle.AnnotationName])
	if err != nil {
		return nil, err
	}
	c.TreeDigest = bundle.TreeDigest(c.Files[bundle.TreePath])
	if want := m.Annotations[bundle.AnnotationTree]; want != "" && want != c.TreeDigest.String() {
		return nil, fmt.Errorf("its tree is %s, its annotation says %s: %w", c.TreeDigest, want, bundle.ErrMismatch)
	}
	return c, nil
}

// readMetadata reads the layer from its blob r. The name is that of the
// environment; "" takes the directory that the layer's entries lie under.
func readMetadata(ctx context.Context, r io.Reader, desc bundle.Descriptor, name string) (env *bundle.Environment, tree *bundle.Tree, files map[string][]byte, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", bundle.Label(desc), err)
		}
	}()
	s, err := newStream(ctx, r, desc, MaxMetadata)
	if err != nil {
		return nil, nil, nil, err
	}
	defer s.close()
	m := &metadata{name: name, dirs: map[string]bool{}, files: map[string][]byte{}, modes: map[string]int64{}}
	if err := m.read(s); err != nil {
		return nil, nil, nil, s.judge(err)
	}
	env, tree, err = m.decode()
	if err != nil {
		return nil, nil, nil, err
	}
	return env, tree, m.files, nil
}

// metadata is the layer as it is read.
type metadata struct {
	name  string
	dirs  map[string]bool // seen
	files map[string][]byte
	modes map[string]int64
}

func (m *metadata) read(s *stream) error {
	tr := tar.NewReader(s)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return s.end()
		}
		if err != nil {
			return fmt.Errorf("tar: %w", err)
		}
		if err := m.entry(h, tr); err != nil {
			return err
		}
	}
}

// entry takes one entry: <name>/, <name>/metalpack/ or a file in the latter.
func (m *metadata) entry(h *tar.Header, content io.Reader) error {
	if err := checkHeader(h); err != nil {
		return err
	}
	if m.name == "" {
		m.name, _, _ = strings.Cut(h.Name, "/")
		if err := bundle.CheckName(m.name); err != nil {
			return fmt.Errorf("tar: %q: %w", shorten(h.Name), err)
		}
	}
	p, err := entryPath(h, m.name)
	if err != nil {
		return err
	}
	base, inside := strings.CutPrefix(p, bundle.MetadataDir+"/")
	switch {
	case h.Typeflag == tar.TypeDir && (p == "" || p == bundle.MetadataDir):
		if m.dirs[p] {
			return fmt.Errorf("tar: directory %q appears twice: %w", p, bundle.ErrInvalid)
		}
		m.dirs[p] = true
		return nil
	case h.Typeflag != tar.TypeReg || !inside || strings.Contains(base, "/"):
		return fmt.Errorf("tar: %q does not belong into the metadata layer: %w", p, bundle.ErrInvalid)
	case m.files[p] != nil:
		return fmt.Errorf("tar: %q appears twice: %w", p, bundle.ErrInvalid)
	case len(m.files) == MaxMetadataFiles:
		return fmt.Errorf("tar: more than %d files: %w", MaxMetadataFiles, bundle.ErrInvalid)
	}
	if limit := metadataLimit(p); h.Size > limit {
		return fmt.Errorf("tar: %q: %d bytes, more than %d: %w", p, h.Size, limit, bundle.ErrInvalid)
	}
	data := make([]byte, h.Size)
	if _, err := io.ReadFull(content, data); err != nil {
		return fmt.Errorf("tar: %q: %w", p, err)
	}
	m.files[p], m.modes[p] = data, h.Mode
	return nil
}

// metadataLimit caps one file, in bytes.
func metadataLimit(p string) int64 {
	switch p {
	case bundle.TreePath:
		return bundle.MaxTree
	case bundle.EnvironmentPath:
		return MaxEnvironment
	}
	return MaxMetadata - bundle.MaxTree
}

// decode parses the two files that must be there and checks all others
// against the tree, which lists each file of the layer but itself.
func (m *metadata) decode() (*bundle.Environment, *bundle.Tree, error) {
	for _, p := range []string{bundle.EnvironmentPath, bundle.TreePath} {
		if m.files[p] == nil {
			return nil, nil, fmt.Errorf("%s is missing: %w", p, bundle.ErrInvalid)
		}
	}
	tree, err := bundle.ParseTree(m.files[bundle.TreePath])
	if err != nil {
		return nil, nil, err
	}
	env, err := bundle.ParseEnvironment(m.files[bundle.EnvironmentPath])
	if err != nil {
		return nil, nil, err
	}
	if env.Name != m.name {
		return nil, nil, fmt.Errorf("environment.json: name %q under the directory %q: %w", env.Name, m.name, bundle.ErrInvalid)
	}
	listed := 1 // the tree does not list itself
	for _, e := range tree.Entries {
		here := e.Layer == bundle.MetadataLayer
		if here != strings.HasPrefix(e.Path, bundle.MetadataDir+"/") || e.Path == bundle.TreePath {
			return nil, nil, fmt.Errorf("tree: %q in layer %s: %w", e.Path, e.Layer, bundle.ErrInvalid)
		}
		if !here {
			continue
		}
		listed++
		data, ok := m.files[e.Path]
		sum := sha256.Sum256(data)
		if !ok || e.IsLink() || int64(e.Mode) != m.modes[e.Path] || hex.EncodeToString(sum[:]) != e.SHA256 {
			return nil, nil, fmt.Errorf("%s is not what the tree says: %w", e.Path, bundle.ErrMismatch)
		}
	}
	if listed != len(m.files) {
		return nil, nil, fmt.Errorf("metadata layer: %d files, the tree lists %d: %w", len(m.files), listed, bundle.ErrInvalid)
	}
	return env, tree, nil
}
