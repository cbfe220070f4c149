// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// activate makes a version the active one. The state goes first: after a crash
// between the two the pointer, which is the truth, is the old one.
func (h *Home) activate(name, id, before string) error {
	if err := h.tellDocker(name); err != nil {
		return err
	}
	s, err := h.readState()
	if err != nil {
		return err
	}
	previous := s.Environments[name].Previous
	if before != "" && before != id {
		previous = before
	}
	s.Environments[name] = environmentState{Active: id, Previous: previous}
	if err := h.writeState(s); err != nil {
		return err
	}
	pointer := filepath.Join(h.EnvironmentDir(name), filepath.FromSlash(pointerPath))
	if err := errors.Join(h.makeDir(filepath.Dir(pointer)), h.reached("recorded")); err != nil {
		return err
	}
	if err := fsatomic.Symlink(pointerStart+id+"/"+interpreter, pointer); err != nil {
		return err
	}
	return h.reached("activated")
}

// tellDocker sees to it that Docker Model Runner, in whose place an environment
// may lie, leaves it as it is.
func (h *Home) tellDocker(name string) error {
	if name != dockerEnvironment {
		return nil
	}
	file := filepath.Join(h.EnvironmentDir(name), dockerVersionFile)
	if said, err := readStoreFile(file, int64(len(dockerVersion))); err == nil && string(said) == dockerVersion {
		return nil
	}
	return fsatomic.WriteFile(file, []byte(dockerVersion), 0o644)
}

// checkOurs refuses to work in an install directory that holds something that
// no install of ours put there.
func (h *Home) checkOurs(name string) error {
	dir := h.EnvironmentDir(name)
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: not a directory: %w", dir, bundle.ErrInvalid)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	ids, err := h.versionIDs(name)
	if err != nil || len(ids) > 0 {
		return err
	}
	// No complete version: an install or an uninstall that was killed, or not
	// ours.
	foreign := slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() != versionsDir && e.Name() != dockerVersionFile && !h.isPointerDir(name, e)
	})
	if !foreign {
		return nil
	}
	return fmt.Errorf("%s: it holds something that metalrun did not install; move it away first: %w", dir, bundle.ErrInvalid)
}

// isPointerDir reports whether an entry of an install directory is bin/ with
// nothing in it but our pointer.
func (h *Home) isPointerDir(name string, e fs.DirEntry) bool {
	dir := filepath.Dir(filepath.Join(h.EnvironmentDir(name), filepath.FromSlash(pointerPath)))
	if e.Name() != filepath.Base(dir) || !e.IsDir() {
		return false
	}
	entries, err := os.ReadDir(dir)
	return err == nil && (len(entries) == 0 || len(entries) == 1 && h.activeID(name) != "")
}
