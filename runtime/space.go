// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/metalpack/metalpack/bundle"
)

// What files take on the disk.
const (
	diskBlock    = 4096
	codePercent  = 140 // byte code per byte of source, at most
	spareForSelf = 1 << 20
)

// SpaceError says that the disk is too small. It is found before a byte of a
// layer is fetched, or on the way when something else took the room.
type SpaceError struct {
	Dir        string
	Need, Free int64
	Err        error // of the disk; nil if the room was counted
}

// Error implements error.
func (e *SpaceError) Error() string {
	text := fmt.Sprintf("%s: needs %s, %s free", e.Dir, humanize.Bytes(uint64(max(e.Need, 0))), humanize.Bytes(uint64(max(e.Free, 0))))
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the disk's error.
func (e *SpaceError) Unwrap() error { return e.Err }

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

// free is the room that is left for the user where dir is, or will be.
func free(dir string) (int64, error) {
	for {
		if _, err := os.Lstat(dir); err == nil || filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("%s: free space: %w", dir, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil //nolint:unconvert // the types differ between systems
}

// checkSpace compares what is still to be written with what is free.
func (f *filler) checkSpace() error {
	room, err := free(f.dir)
	if err != nil {
		return err
	}
	if need := spaceFor(f.missing, f.art.tree); need > room {
		return &SpaceError{Dir: f.home.Dir, Need: need, Free: room}
	}
	return nil
}

// spaceError says of an error of a full disk how much room there should be.
func (in *install) spaceError(err error) error {
	if _, counted := errors.AsType[*SpaceError](err); counted || !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	all := make(map[string]bundle.TreeEntry, len(in.art.tree.Entries))
	for _, e := range in.art.tree.Entries {
		if _, serr := os.Lstat(filepath.Join(in.staging, filepath.FromSlash(e.Path))); serr != nil {
			all[e.Path] = e
		}
	}
	room, serr := free(in.staging)
	if serr != nil {
		return errors.Join(err, serr)
	}
	return &SpaceError{Dir: in.home.Dir, Need: spaceFor(all, in.art.tree), Free: room, Err: err}
}
