// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sort"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/unpack"
	"github.com/metalpack/metalpack/verify"
)

// Version is one installed version of an environment.
type Version struct {
	ID             string
	Dir            string // its own directory, not the pointer's
	Env            *bundle.Environment
	Tree           *bundle.Tree
	Reference      string // as the user wrote it when it was installed
	ManifestDigest digest.Digest
	Marker         *Marker
	Active         bool
}

// Size is what its files have in bytes, byte code included.
func (v *Version) Size() int64 {
	n := v.Tree.Size()
	for _, b := range v.Marker.ByteCode {
		n += b.Size
	}
	return n
}

// load reads an installed version: its marker, the tree that the marker names,
// and the environment.json that the tree names. Errors: [bundle.ErrNotFound] if
// it is not there, else [verify.ErrDamaged].
func (h *Home) load(name, id string) (*Version, error) {
	dir := h.VersionDir(name, id)
	m, err := readMarker(dir)
	if err != nil {
		if errors.Is(err, bundle.ErrNotFound) {
			return nil, fmt.Errorf("version %s of %s: %w", id, name, bundle.ErrNotFound)
		}
		return nil, damaged(err)
	}
	v := &Version{ID: id, Dir: dir, Reference: m.Reference, ManifestDigest: m.ManifestDigest, Marker: m, Active: h.activeID(name) == id}
	data, err := readStoreFile(filepath.Join(dir, filepath.FromSlash(bundle.TreePath)), bundle.MaxTree)
	if err != nil {
		return nil, damaged(err)
	}
	if got := bundle.TreeDigest(data); got != m.TreeDigest {
		return nil, damaged(fmt.Errorf("%s: %s is %s, the marker says %s: %w", dir, bundle.TreePath, got, m.TreeDigest, bundle.ErrMismatch))
	}
	if v.Tree, err = bundle.ParseTree(data); err != nil {
		return nil, damaged(fmt.Errorf("%s: %w", dir, err))
	}
	data, err = readStoreFile(filepath.Join(dir, filepath.FromSlash(bundle.EnvironmentPath)), unpack.MaxEnvironment)
	if err != nil {
		return nil, damaged(err)
	}
	e, _ := v.Tree.Find(bundle.EnvironmentPath)
	if got := digest.FromBytes(data).Encoded(); got != e.SHA256 {
		return nil, damaged(fmt.Errorf("%s: %s has sha256 %s, the tree says %s: %w", dir, bundle.EnvironmentPath, got, e.SHA256, bundle.ErrMismatch))
	}
	if v.Env, err = bundle.ParseEnvironment(data); err != nil {
		return nil, damaged(fmt.Errorf("%s: %w", dir, err))
	}
	return v, nil
}

// damaged marks an error of a version that is there; what is missing in it is
// not a version that was not found.
func damaged(err error) error {
	if errors.Is(err, bundle.ErrNotFound) {
		return fmt.Errorf("%v: %w", err, verify.ErrDamaged) //nolint:errorlint // see the comment
	}
	return fmt.Errorf("%w: %w", err, verify.ErrDamaged)
}

// check loads a version and looks at its files.
func (h *Home) check(ctx context.Context, name, id string, o verify.Options) (*Version, verify.Report, error) {
	v, err := h.load(name, id)
	if err != nil {
		return nil, verify.Report{}, err
	}
	o.Extra, o.Allow = v.Marker.entries(), []string{markerPath}
	return v, verify.Tree(ctx, v.Dir, v.Tree, o), nil
}

// Active returns the active version of an environment. Errors:
// [bundle.ErrNotFound] if there is none, [verify.ErrDamaged] if what the
// pointer names cannot be read.
func (h *Home) Active(name string) (*Version, error) {
	if err := bundle.CheckName(name); err != nil {
		return nil, err
	}
	id := h.activeID(name)
	if id == "" {
		return nil, fmt.Errorf("environment %s: version that %s names: %w", name, pointerPath, bundle.ErrNotFound)
	}
	v, err := h.load(name, id)
	if errors.Is(err, bundle.ErrNotFound) {
		return nil, damaged(fmt.Errorf("version %s of %s, which is active: %s: %w", id, name, markerPath, bundle.ErrNotFound))
	}
	return v, err
}

// Origin says what the active version was installed from: the reference in the
// user's words and the digest of the manifest. It needs the version's marker
// alone, so that a version that [Home.Active] cannot read can be repaired.
// Errors are those of Active.
func (h *Home) Origin(name string) (ref string, manifest digest.Digest, err error) {
	if err := bundle.CheckName(name); err != nil {
		return "", "", err
	}
	m, err := readMarker(h.VersionDir(name, h.activeID(name)))
	if err != nil {
		return "", "", damaged(err)
	}
	return m.Reference, m.ManifestDigest, nil
}

// Versions lists the installed versions of an environment, the active one
// first, then by release and id. Versions that cannot be read are left out and
// named by the error, which wraps [verify.ErrDamaged].
func (h *Home) Versions(name string) ([]Version, error) {
	if err := bundle.CheckName(name); err != nil {
		return nil, err
	}
	ids, err := h.versionIDs(name)
	if err != nil {
		return nil, err
	}
	var out []Version
	var errs []error
	for _, id := range ids {
		v, err := h.load(name, id)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, *v)
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := &out[i], &out[j]
		if a.Active != b.Active {
			return a.Active
		}
		return a.Env.Release+" "+a.ID < b.Env.Release+" "+b.ID
	})
	return out, errors.Join(errs...)
}

// Verify checks the files of the active version, by content when deep. Damage
// is in the report; errors are those of [Home.Active] and ctx's cause.
func (h *Home) Verify(ctx context.Context, name string, deep bool, events bundle.EventFunc) (verify.Report, error) {
	v, err := h.Active(name)
	if err != nil {
		return verify.Report{}, err
	}
	_, report, err := h.check(ctx, name, v.ID, verify.Options{Deep: deep, Events: events})
	if ctx.Err() != nil {
		return report, context.Cause(ctx)
	}
	return report, err
}

// Status is what can be said about one environment without reading its files.
type Status struct {
	Name     string
	Active   *Version // nil if there is none or it cannot be read
	Problem  error    // why Active is nil
	Previous string   // id of the version that was active before, if it is there
	Versions int
}

// Status describes every installed environment.
func (h *Home) Status() ([]Status, error) {
	names, err := h.Environments()
	if err != nil {
		return nil, err
	}
	s, err := h.readState()
	if err != nil {
		return nil, err
	}
	out := make([]Status, 0, len(names))
	for _, name := range names {
		ids, err := h.versionIDs(name)
		if err != nil {
			return nil, err
		}
		st := Status{Name: name, Versions: len(ids)}
		st.Active, st.Problem = h.Active(name)
		if previous := s.Environments[name].Previous; slices.Contains(ids, previous) && previous != h.activeID(name) {
			st.Previous = previous
		}
		out = append(out, st)
	}
	return out, nil
}

// filesBySHA256 finds files of installed versions that have the content of one
// of the wanted entries: paths by sha256. A version that cannot be read is no
// source.
func (h *Home) filesBySHA256(wanted map[string]bundle.TreeEntry) (map[string][]string, error) {
	need := make(map[string]bool, len(wanted))
	for _, e := range wanted {
		need[e.SHA256] = true
	}
	names, err := h.Environments()
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, name := range names {
		ids, err := h.versionIDs(name)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			v, err := h.load(name, id)
			if err != nil {
				continue
			}
			for _, e := range v.Tree.Entries {
				if !e.IsLink() && need[e.SHA256] {
					out[e.SHA256] = append(out[e.SHA256], filepath.Join(v.Dir, filepath.FromSlash(e.Path)))
				}
			}
		}
	}
	return out, nil
}

// sortByteCode sorts by path.
func sortByteCode(code []ByteCode) {
	sort.Slice(code, func(i, j int) bool { return code[i].Path < code[j].Path })
}
