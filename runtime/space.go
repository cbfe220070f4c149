// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/diskspace"
)

// What files take on the disk.
const (
	diskBlock    = 4096
	codePercent  = 140 // byte code per byte of source, at most
	spareForSelf = 1 << 20
)

// SpaceError says that the disk is too small. It is found before a byte of a
// layer is fetched, or on the way when something else took the room.
type SpaceError = diskspace.Error

// onDisk is the room that a file of n bytes takes.
func onDisk(n int64) int64 { return (n + diskBlock - 1) / diskBlock * diskBlock }

// spaceFor is the room that files of a tree take, with their byte code.
func spaceFor(files map[string]bundle.TreeEntry, tree *bundle.Tree) int64 {
	need := int64(spareForSelf)
	for _, e := range files {
		need += onDisk(e.Size)
	}
	for _, e := range tree.Entries {
		if strings.HasPrefix(e.Path, libraryPath+"/") && strings.HasSuffix(e.Path, ".py") {
			need += onDisk(e.Size * codePercent / 100)
		}
	}
	return need
}

// checkSpace compares what is still to be written with what is free.
func (f *filler) checkSpace() error {
	return diskspace.Check(f.home.Dir, spaceFor(f.missing, f.art.tree))
}

// spaceError says of an error of a full disk how much room there should be.
func (in *install) spaceError(err error) error {
	if !diskspace.Full(err) {
		return err
	}
	all := make(map[string]bundle.TreeEntry, len(in.art.tree.Entries))
	for _, e := range in.art.tree.Entries {
		if _, serr := os.Lstat(filepath.Join(in.staging, filepath.FromSlash(e.Path))); serr != nil {
			all[e.Path] = e
		}
	}
	return diskspace.Explain(err, in.home.Dir, spaceFor(all, in.art.tree))
}
