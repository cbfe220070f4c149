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
	"github.com/metalpack/metalpack/bundle/unpack"
)

// clearStaging removes unfinished installs of an environment but that of keep,
// and those that nobody can go on with. What another environment has there is
// left to it. The caller has the lock: nobody works on them.
func (h *Home) clearStaging(events bundle.EventFunc, name, keep string) error {
	dirs, err := os.ReadDir(h.store(stagingDir))
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if of := h.stagedOf(d.Name()); d.Name() == keep || of != "" && of != name {
			continue
		}
		events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: fmt.Sprintf("removing what an unfinished install of %s left", d.Name())})
		if err := os.RemoveAll(h.StagingDir(d.Name())); err != nil {
			return err
		}
	}
	return nil
}

// stagedOf is the environment that a directory of staging is to become: "" if it
// does not tell, and then nothing was fetched for it yet.
func (h *Home) stagedOf(id string) string {
	data, err := readStoreFile(filepath.Join(h.StagingDir(id), filepath.FromSlash(bundle.EnvironmentPath)), unpack.MaxEnvironment)
	if err != nil {
		return ""
	}
	env, err := bundle.ParseEnvironment(data)
	if err != nil {
		return ""
	}
	return env.Name
}

// Unfinished names the environments of which an install that did not end has
// left something. [Home.Uninstall] removes it.
func (h *Home) Unfinished() ([]string, error) {
	dirs, err := os.ReadDir(h.store(stagingDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, d := range dirs {
		if name := h.stagedOf(d.Name()); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}
