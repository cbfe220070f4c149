// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/verify"
)

var testHost = bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.36"}

func TestInstall(t *testing.T) {
	t.Parallel()
	h, src := home(t), artifactOf(t, "1")
	res := mustInstall(t, h, src)
	v := wantActive(t, h, "1")
	if res.Already || res.Fetched == 0 || res.Version.ID != v.ID || v.Reference != "example.com/org/env" || len(v.Marker.ByteCode) != 1 {
		t.Errorf("%+v", res)
	}
	if len(staged(t, h)) != 0 {
		t.Errorf("staging holds %v", staged(t, h))
	}
	if again := mustInstall(t, h, src); !again.Already || src.opens["interpreter"] != 1 {
		t.Errorf("again: %+v", again)
	}
}

func TestUpgradeSharesFiles(t *testing.T) {
	t.Parallel()
	h := home(t)
	mustInstall(t, h, artifactOf(t, "1"))
	old := wantActive(t, h, "1")
	src := artifactOf(t, "2")
	res := mustInstall(t, h, src)
	v := wantActive(t, h, "2")
	if src.opens["interpreter"] != 0 || res.Reused == 0 {
		t.Errorf("fetched %v, reused %d", src.opens, res.Reused)
	}
	same := func(p string) bool {
		a, err := os.Stat(filepath.Join(old.Dir, p))
		b, berr := os.Stat(filepath.Join(v.Dir, p))
		if err != nil || berr != nil {
			t.Fatal(err, berr)
		}
		return os.SameFile(a, b)
	}
	if !same("lib/python3.12/site-packages/a/a.so") || same("bin/python3.12") {
		t.Error("want the library linked and the interpreter copied")
	}
	status, err := h.Status()
	if err != nil || len(status) != 1 || status[0].Previous != old.ID || status[0].Versions != 2 {
		t.Errorf("%+v, %v", status, err)
	}
	// Back to the one before: it is there.
	if res := mustInstall(t, h, artifactOf(t, "1")); res.Already || res.Version.ID != old.ID {
		t.Errorf("%+v", res)
	}
	wantActive(t, h, "1")
}

// What an older version holds is read before it is shared: bit rot does not spread.
func TestUpgradeFromDamaged(t *testing.T) {
	t.Parallel()
	h := home(t)
	old := mustInstall(t, h, artifactOf(t, "1")).Version
	rotten := filepath.Join(old.Dir, "lib/python3.12/site-packages/a/a.so")
	if err := errors.Join(os.Remove(rotten), os.WriteFile(rotten, []byte(strings.Repeat("y", 1000)), 0o444)); err != nil {
		t.Fatal(err)
	}
	mustInstall(t, h, artifactOf(t, "2"))
	wantActive(t, h, "2")
}

func TestFailureKeepsOldVersion(t *testing.T) {
	t.Parallel()
	cut := errors.New("connection lost")
	cases := map[string]struct {
		alter func(layer string, data []byte) io.Reader
		probe []bundle.Probe
		is    error
		kept  bool
	}{
		"truncated": {alter: func(layer string, data []byte) io.Reader {
			if layer == "wheel/a" {
				data = data[:len(data)-3]
			}
			return bytes.NewReader(data)
		}, is: bundle.ErrMismatch, kept: true},
		"altered": {alter: func(layer string, data []byte) io.Reader {
			if layer == "wheel/a" {
				data = slices.Clone(data)
				data[len(data)/2] ^= 1
			}
			return bytes.NewReader(data)
		}, is: bundle.ErrMismatch, kept: true},
		"altered metadata": {alter: func(layer string, data []byte) io.Reader {
			if layer == bundle.MetadataLayer {
				data = append(slices.Clone(data), 0)
			}
			return bytes.NewReader(data)
		}, is: bundle.ErrMismatch},
		"cut": {alter: func(layer string, data []byte) io.Reader {
			if layer == "wheel/a" {
				return io.MultiReader(bytes.NewReader(data[:10]), failing{cut})
			}
			return bytes.NewReader(data)
		}, is: cut, kept: true},
		"probe": {probe: []bundle.Probe{{Name: "engine", Code: "exit 3"}}, is: verify.ErrProbe},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := home(t)
			mustInstall(t, h, artifactOf(t, "1"))
			src := artifactOf(t, "2", c.probe...)
			src.alter = c.alter
			if _, err := tryInstall(t, h, src); !errors.Is(err, c.is) {
				t.Fatalf("got %v", err)
			}
			wantActive(t, h, "1")
			if kept := len(staged(t, h)) == 1; kept != c.kept {
				t.Errorf("staging holds %v", staged(t, h))
			}
			if c.probe != nil {
				return
			}
			src.alter = nil
			mustInstall(t, h, src)
			wantActive(t, h, "2")
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A process was killed while it filled staging: right files are used, wrong
// ones and what does not belong there go, and so does an older attempt.
func TestContinueStaging(t *testing.T) {
	t.Parallel()
	h, src := home(t), artifactOf(t, "1")
	id := mustInstall(t, home(t), src).Version.ID
	if err := h.prepare(); err != nil {
		t.Fatal(err)
	}
	for p, data := range map[string]string{
		id + "/lib/python3.12/os.py":                         "the same in all",
		id + "/bin/python3.12":                               pythonStub,
		id + "/lib/python3.12/site-packages/a/a.so":          strings.Repeat("y", 1000), // as long as the right one
		id + "/lib/python3.12/site-packages/a/__init__.py":   "half",
		id + "/lib/python3.12/evil.pth":                      "import evil",
		id + "/lib/python3.12/__pycache__/os.pyc":            "stale",
		id + "/" + markerPath:                                "{}",
		"0000000000000000/lib/python3.12/half of an old one": "",
	} {
		name := filepath.Join(h.store(stagingDir), p)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	clear(src.opens)
	res := mustInstall(t, h, src)
	wantActive(t, h, "1")
	if src.opens["interpreter"] != 0 || src.opens["wheel/a"] != 1 || res.Reused == 0 {
		t.Errorf("fetched %v, %+v", src.opens, res)
	}
	if len(staged(t, h)) != 0 {
		t.Errorf("staging holds %v", staged(t, h))
	}
}

// Killed between the two renames: the version is there, the pointer is not.
func TestPlacedNotActivated(t *testing.T) {
	t.Parallel()
	h, src := home(t), artifactOf(t, "1")
	mustInstall(t, h, src)
	if err := os.Remove(filepath.Join(h.Dir, "env/bin/python3")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Active("env"); !errors.Is(err, bundle.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	clear(src.opens)
	mustInstall(t, h, src)
	wantActive(t, h, "1")
	if src.opens["interpreter"] != 0 {
		t.Error("fetched again")
	}
}

func TestRepair(t *testing.T) {
	t.Parallel()
	h, src := home(t), artifactOf(t, "1")
	v := mustInstall(t, h, src).Version
	if err := os.Remove(filepath.Join(v.Dir, "lib/python3.12/os.py")); err != nil {
		t.Fatal(err)
	}
	if report, err := h.Verify(t.Context(), "env", false, nil); err != nil || !errors.Is(report.Err(), verify.ErrDamaged) {
		t.Errorf("%v, %v", report.Err(), err)
	}
	mustInstall(t, h, src)
	wantActive(t, h, "1")
	if len(staged(t, h)) != 0 {
		t.Errorf("staging holds %v", staged(t, h))
	}
	// D9: the marker is a link.
	marker := filepath.Join(v.Dir, markerPath)
	if err := os.Rename(marker, marker+".x"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(marker+".x", marker); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Active("env"); !errors.Is(err, verify.ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

// A version is mended too where a file stands in the place of a directory.
func TestRepairDirectory(t *testing.T) {
	t.Parallel()
	for _, p := range []string{bundle.MetadataDir, "bin", "."} {
		t.Run(p, func(t *testing.T) {
			t.Parallel()
			h, src := home(t), artifactOf(t, "1")
			dir := filepath.Join(mustInstall(t, h, src).Version.Dir, p)
			if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			mustInstall(t, h, src)
			wantActive(t, h, "1")
		})
	}
}

// The same from elsewhere: a repair asks where it came from last.
func TestInstalledFromElsewhere(t *testing.T) {
	t.Parallel()
	h, src := home(t), artifactOf(t, "1")
	v := mustInstall(t, h, src).Version
	half := filepath.Join(v.Dir, bundle.MetadataDir, ".fsatomic-ABCDEFGHIJKL") // of one that was killed
	if err := os.WriteFile(half, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	res, err := h.Install(t.Context(), src, "latest", "example.org/moved/env", InstallOptions{Host: testHost})
	if err != nil || !res.Already || res.Version.Reference != "example.org/moved/env" {
		t.Errorf("%+v, %v", res, err)
	}
	if ref, manifest, err := h.Origin("env"); err != nil || ref != "example.org/moved/env" || manifest != v.ManifestDigest {
		t.Errorf("%s, %s, %v", ref, manifest, err)
	}
	wantActive(t, h, "1")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	h, src := home(t), artifactOf(t, "1")
	mac := InstallOptions{Host: bundle.Platform{OS: "darwin", Arch: "arm64"}}
	if _, err := h.Install(t.Context(), src, "latest", "", mac); !errors.Is(err, bundle.ErrUnsupportedHost) {
		t.Errorf("got %v", err)
	}
	old := InstallOptions{Host: bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.31"}}
	if _, err := h.Install(t.Context(), src, "latest", "", old); !errors.Is(err, bundle.ErrUnsupportedHost) {
		t.Errorf("got %v", err)
	}
	if _, err := h.Install(t.Context(), src, "nightly", "", InstallOptions{Host: testHost}); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(context.Canceled)
	if _, err := h.Install(ctx, src, "latest", "", InstallOptions{Host: testHost}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	theirs := filepath.Join(h.Dir, "env/bin/python3")
	if err := os.MkdirAll(filepath.Dir(theirs), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(theirs, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := tryInstall(t, h, src); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if err := h.Uninstall(t.Context(), "env", nil); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(theirs); err != nil {
		t.Errorf("what is not ours is gone: %v", err)
	}
}

// Two at once: one installs, the other waits and finds it done.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	h, src := home(t), artifactOf(t, "1")
	var wg sync.WaitGroup
	var mu sync.Mutex
	already := 0
	for range 4 {
		wg.Go(func() {
			res, err := tryInstall(t, h, src)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if res.Already {
				already++
			}
		})
	}
	wg.Wait()
	if already != 3 {
		t.Errorf("%d of 4 found it installed", already)
	}
	wantActive(t, h, "1")
}

func TestHostPlatform(t *testing.T) {
	t.Parallel()
	if p := HostPlatform(t.Context()); p.OS == "" || p.Arch == "" {
		t.Errorf("%+v", p)
	}
}
