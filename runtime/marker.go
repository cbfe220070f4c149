// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
	"github.com/metalpack/metalpack/verify"
)

// formatVersion is the version of installed.json and state.json.
const formatVersion = 1

// maxJSON caps installed.json and state.json, in bytes.
const maxJSON = 64 << 20

// Marker is metalpack/installed.json: it says that a version is complete, and
// what it holds besides the files of its tree.
type Marker struct {
	Version        int                  `json:"version"`
	Name           string               `json:"name"`
	Release        string               `json:"release"`
	Reference      string               `json:"reference"`      // as the user wrote it
	Digest         digest.Digest        `json:"digest"`         // what the reference resolved to
	ManifestDigest digest.Digest        `json:"manifestDigest"` // of this platform's manifest
	TreeDigest     digest.Digest        `json:"treeDigest"`
	ByteCode       []ByteCode           `json:"byteCode"`
	Probes         []verify.ProbeResult `json:"probes"`
}

// ByteCode is one file that was compiled at installation.
type ByteCode struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// entries are the rows that the byte code adds to the tree.
func (m *Marker) entries() []bundle.TreeEntry {
	out := make([]bundle.TreeEntry, 0, len(m.ByteCode))
	for _, b := range m.ByteCode {
		out = append(out, bundle.TreeEntry{Path: b.Path, Mode: bundle.ModeFile, Size: b.Size, SHA256: b.SHA256, Layer: "bytecode"})
	}
	return out
}

// writeMarker writes the marker of the version in dir.
func writeMarker(dir string, m *Marker) error {
	data, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	return fsatomic.WriteFile(filepath.Join(dir, filepath.FromSlash(markerPath)), append(data, '\n'), 0o444)
}

// readMarker reads and checks the marker of the version in dir. A marker that
// is a link or names another tree than the id says is none (HOSTILE D9).
func readMarker(dir string) (*Marker, error) {
	name := filepath.Join(dir, filepath.FromSlash(markerPath))
	m := new(Marker)
	if err := readJSON(name, m); err != nil {
		return nil, err
	}
	if m.Version != formatVersion || bundle.CheckDigest(m.TreeDigest) != nil || bundle.VersionID(m.TreeDigest) != filepath.Base(dir) {
		return nil, fmt.Errorf("%s: it is not the marker of this version: %w", name, verify.ErrDamaged)
	}
	for _, b := range m.ByteCode {
		if err := bundle.CheckPath(b.Path); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return m, nil
}

// readJSON reads a file of the store strictly.
func readJSON(name string, v any) error {
	data, err := readStoreFile(name, maxJSON)
	if err != nil {
		return err
	}
	if err := bundle.DecodeStrict(data, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// readStoreFile reads a regular file of at most limit bytes.
func readStoreFile(name string, limit int64) (data []byte, err error) {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, bundle.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s: not a regular file of at most %d bytes: %w", name, limit, bundle.ErrInvalid)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, f)
	return io.ReadAll(io.LimitReader(f, limit))
}

// state is state.json. What is active is said by the pointers; this remembers
// what was before.
type state struct {
	Version      int                         `json:"version"`
	Environments map[string]environmentState `json:"environments"`
}

type environmentState struct {
	Active   string `json:"active"`
	Previous string `json:"previous,omitempty"`
}

// readState returns an empty state when there is none, and when it is damaged:
// all that is lost with it is which version was before, and that must not keep
// anybody from installing or uninstalling.
func (h *Home) readState() (*state, error) {
	s := new(state)
	err := readJSON(h.store(stateFile), s)
	switch {
	case errors.Is(err, bundle.ErrNotFound), errors.Is(err, bundle.ErrInvalid):
		s = &state{Version: formatVersion}
	case err != nil:
		return nil, err
	}
	if s.Version != formatVersion {
		return nil, fmt.Errorf("%s: version %d, this program reads %d: %w", h.store(stateFile), s.Version, formatVersion, bundle.ErrInvalid)
	}
	if s.Environments == nil {
		s.Environments = map[string]environmentState{}
	}
	return s, nil
}

func (h *Home) writeState(s *state) error {
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return fsatomic.WriteFile(h.store(stateFile), append(data, '\n'), 0o600)
}
