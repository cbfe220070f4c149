// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/diskspace"
)

// smallDisk mounts a disk of n bytes; the test is skipped where that is not
// permitted.
func smallDisk(t *testing.T, n int64) *Home {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", n)); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil { // a child that another test forks holds our files until it execs
			t.Errorf("unmount: %v", err)
		}
	})
	return &Home{Dir: dir}
}

func wantSpaceError(t *testing.T, err error, counted bool) {
	t.Helper()
	space, ok := errors.AsType[*SpaceError](err)
	if !ok || space.Need <= space.Free && counted || !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) || !strings.Contains(err.Error(), ": needs ") || !strings.Contains(err.Error(), " free") {
		t.Fatalf("got %v (%+v)", err, space)
	}
}

func TestDiskTooSmall(t *testing.T) {
	t.Parallel()
	h, src := smallDisk(t, 512<<10), artifactOf(t, "1")
	_, err := tryInstall(t, h, src)
	wantSpaceError(t, err, true)
	if src.opens["interpreter"] != 0 || src.opens["wheel/a"] != 0 {
		t.Errorf("a layer was fetched: %v", src.opens)
	}
}

// Something else fills the disk while an install runs, to every extent.
func TestDiskFillsUp(t *testing.T) {
	t.Parallel()
	h := smallDisk(t, 4<<20)
	mustInstall(t, h, artifactOf(t, "1"))
	other := filepath.Join(h.Dir, "other")
	failed := 0
	for left := int64(0); ; left++ {
		_, err := h.Install(t.Context(), artifactOf(t, "2"), "latest", "r", InstallOptions{Host: testHost, Events: func(e bundle.Event) {
			// A layer is opened: the room was counted.
			if _, err := os.Lstat(other); err != nil && e.Kind == bundle.EventStarted && e.What == "layer wheel/a" {
				occupy(t, h, other, left*diskBlock)
			}
		}})
		if err == nil {
			t.Logf("%d installs ended for lack of room, from 0 to %d blocks free", failed, left-1)
			break
		}
		failed++
		wantSpaceError(t, err, false)
		wantActive(t, h, "1")
		// From the beginning, so that every step comes to meet a full disk.
		if err := errors.Join(os.Remove(other), os.RemoveAll(h.store(stagingDir))); err != nil {
			t.Fatal(err)
		}
	}
	if failed == 0 {
		t.Error("the disk was never too small")
	}
	wantActive(t, h, "2")
	mustInstall(t, h, artifactOf(t, "1"))
	forgetRelease2(t, h)
	wantTidy(t, h)
}

// occupy takes the disk but for n bytes.
func occupy(t *testing.T, h *Home, name string, n int64) {
	t.Helper()
	room, err := diskspace.Free(h.Dir)
	if err != nil {
		t.Error(err)
		return
	}
	if err := os.WriteFile(name, make([]byte, max(room-n, 0)), 0o600); err != nil {
		t.Error(err)
	}
}
