// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/diskspace"
)

// disk mounts a disk of n bytes; the test is skipped where that is not
// permitted.
func disk(t *testing.T, n int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", n)); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// A disk that is too small is found before a byte is moved if sizes are known,
// and on the way if not. Nothing half-made has a name, and with room the next
// run goes on where this one stopped.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	data := content("full ", 2<<20)
	for _, known := range []bool{true, false} {
		for _, local := range []bool{true, false} {
			t.Run(fmt.Sprintf("known=%v,local=%v", known, local), func(t *testing.T) {
				t.Parallel()
				mount := disk(t, 4<<20)
				var ranges []string
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					ranges = append(ranges, r.Header.Get("Range"))
					http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
				}))
				defer srv.Close()
				w, links := wheel("demo", data), t.TempDir()
				if local {
					check(t, os.WriteFile(filepath.Join(links, w.File), data, 0o644))
				} else {
					w.URL = srv.URL
				}
				if !known {
					w.Size = 0
				}
				other := filepath.Join(mount, "other")
				check(t, os.WriteFile(other, make([]byte, 3<<20), 0o644))
				cache := inputs.NewCache(filepath.Join(mount, "cache"))
				f := &inputs.Fetcher{Cache: cache, FindLinks: []string{links}}
				_, err := f.Fetch(t.Context(), []inputs.Want{w})
				full, ok := errors.AsType[*diskspace.Error](err)
				if !ok || full.Dir != cache.Dir() || full.Need <= full.Free || !errors.Is(err, syscall.ENOSPC) || known && len(ranges) > 0 || !strings.Contains(err.Error(), cache.Dir()+": needs ") {
					t.Fatalf("got %v", err)
				}
				if _, err := os.Stat(cache.Path(w.SHA256)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%v", err)
				}
				check(t, os.Remove(other))
				check(t, func() error { _, err := f.Fetch(t.Context(), []inputs.Want{w}); return err }())
				if !local && !known && (len(ranges) != 2 || ranges[1] < "bytes=1") {
					t.Errorf("ranges %q", ranges)
				}
			})
		}
	}
}

// A cache that cannot be written gives what it has, and says what it is asked
// for that it has not.
func TestReadOnlyCache(t *testing.T) {
	t.Parallel()
	mount := disk(t, 8<<20)
	cache := inputs.NewCache(filepath.Join(mount, "cache"))
	data := content("ro ", 1<<16)
	path, err := cache.Put(t.Context(), digest(data), 0, bytes.NewReader(data))
	check(t, errors.Join(err, os.Remove(path+".verified"))) // as a cache from before has none
	check(t, unix.Mount("", mount, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	f := &inputs.Fetcher{Cache: cache, FindLinks: []string{t.TempDir()}}
	w := wheel("demo", data)
	for range 2 {
		check(t, func() error { _, err := f.Fetch(t.Context(), []inputs.Want{w}); return err }())
	}
	more := wheel("more", []byte("more"))
	check(t, os.WriteFile(filepath.Join(f.FindLinks[0], more.File), []byte("more"), 0o644))
	_, err = f.Fetch(t.Context(), []inputs.Want{w, more})
	if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "more 1 (") || !strings.Contains(err.Error(), cache.Dir()) {
		t.Errorf("got %v", err)
	}
	if errors.Is(err, bundle.ErrMismatch) {
		t.Errorf("got %v", err)
	}
}
