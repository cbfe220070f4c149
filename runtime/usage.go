// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import "github.com/metalpack/metalpack/internal/diskspace"

// Usage is what an environment takes on the disk.
type Usage struct {
	Name     string
	Versions []VersionUsage
	Bytes    int64 // of all versions: a file that several have in common counts once
}

// VersionUsage is what one version takes.
type VersionUsage struct {
	ID     string
	Active bool
	Bytes  int64 // of its files, those that other versions have too included
}

// Usage measures every environment, and in bytes what is left of installs that
// did not end. Versions are in no order.
func (h *Home) Usage() (all []Usage, unfinished int64, err error) {
	names, err := h.Environments()
	if err != nil {
		return nil, 0, err
	}
	var once diskspace.Counter
	for _, name := range names {
		ids, err := h.versionIDs(name)
		if err != nil {
			return nil, 0, err
		}
		u := Usage{Name: name}
		for _, id := range ids {
			v := VersionUsage{ID: id, Active: h.activeID(name) == id}
			var own diskspace.Counter
			if err := own.Walk(h.VersionDir(name, id), func(n int64) { v.Bytes += n }); err != nil {
				return nil, 0, err
			}
			if err := once.Walk(h.VersionDir(name, id), func(n int64) { u.Bytes += n }); err != nil {
				return nil, 0, err
			}
			u.Versions = append(u.Versions, v)
		}
		all = append(all, u)
	}
	err = once.Walk(h.store(stagingDir), func(n int64) { unfinished += n })
	return all, unfinished, err
}
