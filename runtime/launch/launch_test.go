// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package launch_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/runtime/launch"
	"github.com/metalpack/metalpack/runtime/launch/launchtest"
)

func TestMain(m *testing.M) {
	launchtest.Main()
	os.Exit(m.Run())
}

// config starts the engine in one of its ways.
func config(t *testing.T, mode string) launch.Config {
	t.Helper()
	return launch.Config{
		Engine: "fake", VersionDir: launchtest.Version(t), Profile: launchtest.Profile(mode),
		ModelDir: t.TempDir(), Names: []string{"ai/tiny:latest"}, LogPath: filepath.Join(t.TempDir(), "engine.log"),
		ScratchDir: t.TempDir(), Grace: 5 * time.Second, Quiet: time.Hour, // a busy machine is not silent
	}
}

// empty fails unless nothing is left of the private directories.
func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("left in the scratch directory: %v, %v", entries, err)
	}
}

// TestStartStop also proves that a child of the engine that ignores TERM is
// ended.
func TestStartStop(t *testing.T) {
	t.Parallel()
	cfg := config(t, launchtest.Sound)
	s, err := launch.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	helper := helperAddress(t, cfg.LogPath)
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := s.Err(); err != nil {
		t.Errorf("after Stop: %v", err)
	}
	empty(t, cfg.ScratchDir)
	until(t, "the engine's child to end", func() bool {
		conn, err := net.Dial("tcp", helper)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil // nobody listens any more
	})
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("second Stop: %v", err)
	}
}

// helperAddress reads where the engine's child listens from the log.
func helperAddress(t *testing.T, log string) string {
	t.Helper()
	address := ""
	until(t, "a helper", func() (ok bool) {
		data, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), "helper at ")
		address, _, ok = strings.Cut(rest, "\n")
		return ok
	})
	return address
}

// until waits for what comes soon, or never.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestStartFailures: each way to fail has its own clear error, and leaves
// nothing.
func TestStartFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		mode  string
		is    error
		text  []string
		ready time.Duration
	}{
		{launchtest.Dies, launch.ErrExited, []string{"engine fake: ended with exit status 1", "FileNotFoundError: No safetensors found in model"}, 0},
		{launchtest.Killed, launch.ErrExited, []string{"ended by signal: killed"}, 0},
		{launchtest.Half, launch.ErrNotReady, []string{"health path", "FileNotFoundError"}, 0},
		{launchtest.Silent, launch.ErrNotReady, []string{"silent since a traceback", "FileNotFoundError"}, 0},
		{launchtest.Never, launch.ErrNotReady, []string{"no token after 700ms"}, 700 * time.Millisecond},
		{launchtest.Refuses, launch.ErrNotReady, []string{"answered 400", "no chat template"}, 0},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, tt.mode)
			if tt.ready != 0 {
				cfg.Profile.Ready = bundle.Duration(tt.ready)
			}
			if tt.mode == launchtest.Silent {
				cfg.Quiet = 100 * time.Millisecond
			}
			_, err := launch.Start(t.Context(), cfg)
			if !errors.Is(err, tt.is) {
				t.Fatalf("got %v, want %v", err, tt.is)
			}
			for _, want := range tt.text {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %v", want, err)
				}
			}
			failure, ok := errors.AsType[*launch.Error](err)
			if !ok || !strings.Contains(failure.Hint(), cfg.LogPath) {
				t.Errorf("no hint to the log: %v", err)
			}
			if strings.Contains(err.Error(), "No safetensors") && !strings.Contains(failure.Hint(), "pull it again") {
				t.Errorf("known failure has no advice: %s", failure.Hint())
			}
			if strings.Contains(err.Error(), "Engine core initialization failed") {
				t.Errorf("the follow-up is shown, not the cause: %v", err)
			}
			empty(t, cfg.ScratchDir)
		})
	}
}

func TestNotActivated(t *testing.T) {
	t.Parallel()
	cfg := config(t, launchtest.Stubborn)
	cfg.Grace = 50 * time.Millisecond
	cfg.Profile.Activated = "Platform plugin metal is activated"
	_, err := launch.Start(t.Context(), cfg)
	if !errors.Is(err, launch.ErrNotReady) || !strings.Contains(err.Error(), cfg.Profile.Activated) {
		t.Errorf("got %v", err)
	}
	empty(t, cfg.ScratchDir)
}

// TestStubborn is ended by KILL after the grace time.
func TestStubborn(t *testing.T) {
	t.Parallel()
	cfg := config(t, launchtest.Stubborn)
	cfg.Grace = 50 * time.Millisecond
	s, err := launch.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStartCanceled(t *testing.T) {
	t.Parallel()
	cfg := config(t, launchtest.Never)
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Events = func(e bundle.Event) {
		if e.Kind == bundle.EventStarted {
			cancel()
		}
	}
	if _, err := launch.Start(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	empty(t, cfg.ScratchDir)
}

func TestNoInterpreter(t *testing.T) {
	t.Parallel()
	cfg := config(t, launchtest.Sound)
	cfg.VersionDir = t.TempDir()
	if _, err := launch.Start(t.Context(), cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	empty(t, cfg.ScratchDir)
}

// The log of the engine before is kept: it may say why this one was started.
func TestPreviousLog(t *testing.T) {
	t.Parallel()
	cfg := config(t, launchtest.Dies)
	if err := os.WriteFile(cfg.LogPath, []byte("the one before"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := launch.Start(t.Context(), cfg); !errors.Is(err, launch.ErrExited) {
		t.Fatalf("got %v", err)
	}
	before, err := os.ReadFile(cfg.LogPath + launch.PreviousLog)
	if err != nil || string(before) != "the one before" {
		t.Errorf("%q, %v", before, err)
	}
	now, err := os.ReadFile(cfg.LogPath)
	if err != nil || !strings.Contains(string(now), "FileNotFoundError") || strings.Contains(string(now), "before") {
		t.Errorf("%q, %v", now, err)
	}
	// What the engine saw of the user, and what it could write to, is gone.
	empty(t, cfg.ScratchDir)
}
