// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// steps are the points of HOSTILE section 5 where an install can be stopped.
var steps = []string{"resolved", "kept", "reused", "fetched", "filled", "compiled", "synced", "probed", "marked", "placed", "recorded", "activated"}

// The environment of the program that is killed.
const (
	killHome = "METALPACK_TEST_KILL_HOME"
	killStep = "METALPACK_TEST_KILL_STEP" // "" = somebody else kills
)

// randomKills is how many installs are killed at a random moment.
const randomKills = 30

// TestKilledProgram is not a test but the program that the tests below kill.
func TestKilledProgram(t *testing.T) {
	dir := os.Getenv(killHome)
	if dir == "" {
		t.Skip("started by the tests that kill it")
	}
	h := &Home{Dir: dir, failpoint: func(step string) error {
		if step == os.Getenv(killStep) {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}}
	src := artifactOf(t, "2")
	if _, err := os.Stdout.WriteString("ready\n"); err != nil {
		t.Fatal(err)
	}
	mustInstall(t, h, src)
}

// killed runs the program above and returns whether it was killed. With
// after > 0 it is killed then, counted from the beginning of the install.
func killed(t *testing.T, h *Home, step string, after time.Duration) (dead bool, took time.Duration) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledProgram$")
	cmd.Env = append(os.Environ(), killHome+"="+h.Dir, killStep+"="+step)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		t.Log(lines.Text())
	}
	begin := time.Now()
	if after > 0 {
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // perhaps it is done
		defer timer.Stop()
	}
	for lines.Scan() {
		t.Log(lines.Text())
	}
	err = cmd.Wait()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if err != nil && (!ok || exit.ExitCode() != -1) {
		t.Fatalf("the installing program: %v", err)
	}
	return err != nil, time.Since(begin)
}

// recovers checks that an active version is sound after an install of release
// 2 was stopped, and that the next install makes good.
func recovers(t *testing.T, h *Home, wants ...string) {
	t.Helper()
	v, err := h.Active("env")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(wants, " "), v.Env.Release) {
		t.Errorf("active is %s, want %v", v.Env.Release, wants)
	}
	wantActive(t, h, v.Env.Release)
	begin := time.Now()
	mustInstall(t, h, artifactOf(t, "2"))
	t.Logf("the next install took %s", time.Since(begin))
	wantActive(t, h, "2")
	wantTidy(t, h)
}

// wantTidy checks that no staging and no temporary name is left.
func wantTidy(t *testing.T, h *Home) {
	t.Helper()
	if left := staged(t, h); len(left) != 0 {
		t.Errorf("staging holds %v", left)
	}
	err := filepath.WalkDir(h.Dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && fsatomic.IsTemp(d.Name()) {
			t.Errorf("left behind: %s", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestKillAtEachStep(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			h := home(t)
			mustInstall(t, h, artifactOf(t, "1"))
			if dead, _ := killed(t, h, step, 0); !dead {
				t.Fatal("it was not killed: no such step")
			}
			want := "1"
			if step == "activated" {
				want = "2"
			}
			recovers(t, h, want)
		})
	}
}

func TestFirstInstallKilled(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			h := home(t)
			if dead, _ := killed(t, h, step, 0); !dead {
				t.Fatal("it was not killed: no such step")
			}
			if _, err := h.Active("env"); !errors.Is(err, bundle.ErrNotFound) && step != "activated" {
				t.Errorf("active after %s: %v", step, err)
			}
			mustInstall(t, h, artifactOf(t, "2"))
			wantActive(t, h, "2")
			wantTidy(t, h)
		})
	}
}

func TestKillAtRandom(t *testing.T) {
	t.Parallel()
	h := home(t)
	mustInstall(t, h, artifactOf(t, "1"))
	_, whole := killed(t, h, "", 0)
	wantActive(t, h, "2")
	count := 0
	for range randomKills {
		mustInstall(t, h, artifactOf(t, "1"))
		forgetRelease2(t, h)
		if dead, _ := killed(t, h, "", 1+rand.N(whole)); dead {
			count++
		}
		recovers(t, h, "1", "2")
	}
	t.Logf("%d of %d installs were killed before they were done; a whole one takes %s", count, randomKills, whole)
}

// forgetRelease2 removes the version that is not active.
func forgetRelease2(t *testing.T, h *Home) {
	t.Helper()
	ids, err := h.versionIDs("env")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if id == h.activeID("env") {
			continue
		}
		if err := os.RemoveAll(h.VersionDir("env", id)); err != nil {
			t.Fatal(err)
		}
	}
}

// A step that fails, and a user who gives up, at every point.
func TestStopAtEachStep(t *testing.T) {
	t.Parallel()
	stopped := errors.New("stopped")
	for _, step := range steps[:len(steps)-1] {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			h := home(t)
			mustInstall(t, h, artifactOf(t, "1"))
			h.failpoint = func(s string) error {
				if s == step {
					return stopped
				}
				return nil
			}
			if _, err := tryInstall(t, h, artifactOf(t, "2")); !errors.Is(err, stopped) {
				t.Fatalf("got %v", err)
			}
			h.failpoint = nil
			recovers(t, h, "1")
		})
	}
}

func TestCancelAtEachEvent(t *testing.T) {
	t.Parallel()
	for n := int64(1); ; n++ {
		h := home(t)
		mustInstall(t, h, artifactOf(t, "1"))
		ctx, cancel := context.WithCancelCause(t.Context())
		var seen atomic.Int64
		_, err := h.Install(ctx, artifactOf(t, "2"), "latest", "r", InstallOptions{Host: testHost, Events: func(bundle.Event) {
			if seen.Add(1) == n {
				cancel(context.Canceled)
			}
		}})
		cancel(nil)
		switch {
		case err == nil:
			wantActive(t, h, "2") // too late
		case errors.Is(err, context.Canceled):
			recovers(t, h, "1")
		default:
			t.Fatalf("event %d: got %v", n, err)
		}
		if seen.Load() < n {
			t.Logf("%d events", n-1)
			return
		}
	}
}

// A repair swaps the sound version for the damaged one.
func TestRepairKilled(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"filled", "marked", "swapped", "placed"} {
		h := home(t)
		v := mustInstall(t, h, artifactOf(t, "2")).Version
		if err := os.Remove(filepath.Join(v.Dir, "lib/python3.12/os.py")); err != nil {
			t.Fatal(err)
		}
		if dead, _ := killed(t, h, step, 0); !dead {
			t.Fatal("it was not killed: no such step")
		}
		if got := h.activeID("env"); got != v.ID {
			t.Errorf("the pointer leads to %s", got)
		}
		mustInstall(t, h, artifactOf(t, "2"))
		wantActive(t, h, "2")
		wantTidy(t, h)
	}
}
