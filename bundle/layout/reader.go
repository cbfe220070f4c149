// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// Reader reads the artifacts of a layout. It shows the layout as it was when
// it was opened; blobs are not verified, as [bundle.Source] says.
type Reader struct {
	name    string // for messages
	files   files
	entries []bundle.Descriptor
	heads   heads
}

var _ bundle.Source = (*Reader)(nil)

// Open opens a layout, directory or archive, for reading. The caller closes
// it. Errors: [bundle.ErrNotFound] if there is nothing, [bundle.ErrInvalid] if
// it is no layout.
func Open(ref bundle.Reference) (*Reader, error) {
	name := string(ref.Transport) + ":" + ref.Path
	var f files
	var err error
	switch ref.Transport {
	case bundle.TransportLayout:
		f, err = openDirectory(ref.Path)
	case bundle.TransportArchive:
		f, err = openArchive(ref.Path)
	default:
		return nil, fmt.Errorf("%s: neither a layout nor an archive: %w", ref, bundle.ErrInvalid)
	}
	if err != nil {
		return nil, notFound(name, err)
	}
	r, err := newReader(name, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// newReader reads the two files that make a directory a layout.
func newReader(name string, f files) (*Reader, error) {
	var version struct {
		Version string `json:"imageLayoutVersion"`
	}
	data, err := readSmall(f, "oci-layout", maxLayoutFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: not an OCI image layout, there is no file oci-layout in it: %w", name, bundle.ErrInvalid)
	}
	if err == nil {
		err = bundle.DecodeStrict(data, &version)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: not an OCI image layout: %w: %w", name, err, bundle.ErrInvalid)
	}
	if !strings.HasPrefix(version.Version, "1.") {
		return nil, fmt.Errorf("%s: OCI image layout of version %.20q, want 1: %w", name, version.Version, bundle.ErrInvalid)
	}
	r := &Reader{name: name, files: f}
	data, err = readSmall(f, "index.json", bundle.MaxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil // created, nothing committed yet
	}
	if err == nil {
		r.entries, err = parseIndex(data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// notFound puts our sentinel beside that of the file system.
func notFound(what string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", what, bundle.ErrNotFound)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Close implements io.Closer.
func (r *Reader) Close() error { return r.files.Close() }

// Resolve implements [bundle.Source]. The empty name stands for the only
// artifact. Errors: [bundle.ErrNotFound], which lists the names there are, and
// [bundle.ErrInvalid] for the empty name when there are several, or if what the
// entries are takes too much reading.
func (r *Reader) Resolve(_ context.Context, name string) (bundle.Descriptor, error) {
	if d := digest.Digest(name); strings.Contains(name, ":") {
		return r.resolveDigest(d)
	}
	var found []bundle.Descriptor
	var names []string
	for _, d := range r.entries {
		if refName(d) == "" {
			if h, err := r.head(d); err != nil {
				return bundle.Descriptor{}, err
			} else if h != nil && h.Subject != nil {
				continue
			}
		}
		if label := label(d); !slices.Contains(names, label) {
			names = append(names, label)
		}
		if (name == "" || refName(d) == name) && !slices.ContainsFunc(found, func(f bundle.Descriptor) bool { return f.Digest == d.Digest }) {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1:
		return plain(found[0]), nil
	case len(found) > 1 && name == "":
		return bundle.Descriptor{}, fmt.Errorf("%s: holds several artifacts, name one of %s: %w", r.name, strings.Join(names, ", "), bundle.ErrInvalid)
	case len(found) > 1:
		return bundle.Descriptor{}, fmt.Errorf("%s: %q names several artifacts: %w", r.name, name, bundle.ErrInvalid)
	case len(names) == 0:
		return bundle.Descriptor{}, fmt.Errorf("%s: holds no artifact: %w", r.name, bundle.ErrNotFound)
	}
	return bundle.Descriptor{}, fmt.Errorf("%s: tag %q, there is only %s: %w", r.name, name, strings.Join(names, ", "), bundle.ErrNotFound)
}

// label is how a user names an entry.
func label(d bundle.Descriptor) string {
	if n := refName(d); n != "" {
		return fmt.Sprintf("%.140q", n)
	}
	return d.Digest.String()
}

// plain is a root's descriptor as a registry would give it.
func plain(d bundle.Descriptor) bundle.Descriptor {
	return bundle.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// resolveDigest describes a manifest of the layout, listed or not.
func (r *Reader) resolveDigest(d digest.Digest) (bundle.Descriptor, error) {
	if err := bundle.CheckDigest(d); err != nil {
		return bundle.Descriptor{}, fmt.Errorf("%s: %w", r.name, err)
	}
	for _, e := range r.entries {
		if e.Digest == d {
			return plain(e), nil
		}
	}
	data, err := readSmall(r.files, blobName(d), bundle.MaxManifest)
	if err != nil {
		return bundle.Descriptor{}, notFound(r.name+": manifest "+d.String(), err)
	}
	h, err := headOf(data)
	if err != nil || !bundle.IsManifest(h.MediaType) {
		return bundle.Descriptor{}, fmt.Errorf("%s: %s: not a manifest: %w", r.name, d, bundle.ErrInvalid)
	}
	return bundle.Descriptor{MediaType: h.MediaType, Digest: d, Size: int64(len(data))}, nil
}

// Manifest implements [bundle.Source]. Errors: [bundle.ErrNotFound],
// [bundle.ErrMismatch], [bundle.ErrInvalid].
func (r *Reader) Manifest(_ context.Context, desc bundle.Descriptor) (data []byte, err error) {
	if err := bundle.CheckDescriptor(desc); err != nil {
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	if desc.Size > bundle.MaxManifest {
		return nil, fmt.Errorf("%s: manifest %s: %d bytes, more than %d: %w", r.name, desc.Digest, desc.Size, bundle.MaxManifest, bundle.ErrInvalid)
	}
	s, err := r.files.open(blobName(desc.Digest))
	if err != nil {
		return nil, notFound(r.name+": manifest "+desc.Digest.String(), err)
	}
	defer closeInto(&err, s)
	if data, err = bundle.ReadVerified(s, desc); err != nil {
		return nil, fmt.Errorf("%s: manifest %w", r.name, err)
	}
	return data, nil
}

// Open implements [bundle.Source]. Errors: [bundle.ErrNotFound],
// [bundle.ErrMismatch] if the blob has another size, [bundle.ErrInvalid].
func (r *Reader) Open(_ context.Context, desc bundle.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := bundle.CheckDescriptor(desc); err != nil {
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	if offset < 0 || offset > desc.Size {
		return nil, fmt.Errorf("%s: %s: offset %d of %d bytes: %w", r.name, desc.Digest, offset, desc.Size, bundle.ErrInvalid)
	}
	s, err := r.files.open(blobName(desc.Digest))
	if err != nil {
		return nil, notFound(r.name+": "+bundle.Label(desc), err)
	}
	if s.Size() != desc.Size {
		err = fmt.Errorf("%s: %s: %d bytes, want %d: %w", r.name, bundle.Label(desc), s.Size(), desc.Size, bundle.ErrMismatch)
	} else {
		_, err = s.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Exists reports whether a blob of that name and size is there; its bytes are
// not looked at. Errors: [bundle.ErrInvalid].
func (r *Reader) Exists(ctx context.Context, desc bundle.Descriptor) (bool, error) {
	s, err := r.Open(ctx, desc, 0)
	switch {
	case err == nil:
		return true, s.Close()
	case errors.Is(err, bundle.ErrNotFound) || errors.Is(err, bundle.ErrMismatch):
		return false, nil
	}
	return false, err
}

// Referrers implements [bundle.Source]: the entries of index.json whose
// manifest has desc as its subject. An entry that cannot be read refers to
// nothing. The error wraps [bundle.ErrInvalid] if that takes too much reading.
func (r *Reader) Referrers(_ context.Context, desc bundle.Descriptor) ([]bundle.Descriptor, error) {
	var out []bundle.Descriptor
	for _, e := range r.entries {
		h, err := r.head(e)
		if err != nil {
			return nil, err
		}
		if h == nil || h.Subject == nil || h.Subject.Digest != desc.Digest {
			continue
		}
		d := plain(e)
		d.ArtifactType, d.Annotations = h.ArtifactType, h.Annotations
		out = append(out, d)
	}
	return out, nil
}
