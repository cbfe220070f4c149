// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
)

// TestConsole: what a run came to is one document under --json, text and lines
// of stderr without.
func TestConsole(t *testing.T) {
	t.Parallel()
	missing := edge.WithHint(fmt.Errorf("tag <9>: %w", bundle.ErrNotFound), "look elsewhere")
	const told = "metalrun: error: tag <9>: not found\nhint: look elsewhere\n"
	for name, tt := range map[string]struct {
		json           bool
		args           []string
		do             func(c *ui.Console) error
		code           int
		stdout, stderr string
	}{
		"text":                     {false, nil, func(c *ui.Console) error { return c.Result(1, "one\x1b\n") }, 0, "one\uFFFD\n", ""},
		"text and error":           {false, nil, func(c *ui.Console) error { return errors.Join(c.Result(1, "one\n"), missing) }, 4, "one\n", told},
		"error":                    {false, nil, func(*ui.Console) error { return missing }, 4, "", told},
		"json":                     {true, nil, func(c *ui.Console) error { return c.Result(map[string]string{"a": "<"}, "a\n") }, 0, "{\n  \"a\": \"<\"\n}\n", ""},
		"json, nothing":            {true, nil, func(*ui.Console) error { return nil }, 0, "", ""},
		"json, empty":              {true, nil, func(c *ui.Console) error { return c.Result([]int{}, "") }, 0, "[]\n", ""},
		"json, error":              {true, nil, func(*ui.Console) error { return missing }, 4, `{"error":"tag <9>: not found","hints":["look elsewhere"],"exitCode":4}` + "\n", told},
		"json, result and error":   {true, nil, func(c *ui.Console) error { return errors.Join(c.Result([]int{1}, "one\n"), missing) }, 4, `{"error":"tag <9>: not found","hints":["look elsewhere"],"exitCode":4,"result":[1]}` + "\n", told},
		"json, document and error": {true, nil, func(c *ui.Console) error { return errors.Join(c.Document(1), missing) }, 4, "1\n", told},
		"json, not read":           {false, []string{"rm", "--bad", "--json"}, func(*ui.Console) error { return missing }, 4, `{"error":"tag <9>: not found","hints":["look elsewhere"],"exitCode":4}` + "\n", told},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, msg bytes.Buffer
			c := &ui.Console{Env: &edge.Env{Program: "metalrun", Args: tt.args, Stdout: &out, Stderr: &msg}, JSON: tt.json}
			if code := c.End(t.Context(), tt.do(c)); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if diff := cmp.Diff([]string{tt.stdout, tt.stderr}, []string{out.String(), msg.String()}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An interrupt is told as that; a stdout that takes nothing is an error.
func TestConsoleEnd(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, msg bytes.Buffer
	c := &ui.Console{Env: &edge.Env{Program: "metalrun", Stdout: &out, Stderr: &msg}, JSON: true}
	if code := c.End(ctx, errors.New("read: closed")); code != edge.ExitInterrupted || out.String() != `{"error":"interrupted","exitCode":130}`+"\n" {
		t.Errorf("exit code %d, %s", code, out.String())
	}
	c = &ui.Console{Env: &edge.Env{Program: "metalrun", Stdout: full{&out}, Stderr: &msg}, JSON: true}
	if code := c.End(t.Context(), c.Result(1, "")); code != edge.ExitError {
		t.Errorf("exit code %d, %s", code, msg.String())
	}
}

// A stdout that nobody reads is told to nobody, in both forms; an error is, and
// so is a pipe to somebody else that broke.
func TestConsoleUnread(t *testing.T) {
	t.Parallel()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in.Close()
	missing := fmt.Errorf("tag 9: %w", bundle.ErrNotFound)
	for name, tt := range map[string]struct {
		json   bool
		do     func(c *ui.Console) error
		code   int
		stderr string
	}{
		"text":        {false, func(c *ui.Console) error { return c.Result(1, "one\n") }, edge.ExitPipe, ""},
		"json":        {true, func(c *ui.Console) error { return c.Result(1, "one\n") }, edge.ExitPipe, ""},
		"json, error": {true, func(*ui.Console) error { return missing }, edge.ExitNotFound, "metalrun: error: tag 9: not found\n"},
		"another":     {true, func(*ui.Console) error { return &fs.PathError{Op: "write", Path: "x", Err: syscall.EPIPE} }, edge.ExitError, "metalrun: error: write x: broken pipe\n"},
	} {
		var msg bytes.Buffer
		c := &ui.Console{Env: &edge.Env{Program: "metalrun", Stdout: out, Stderr: &msg}, JSON: tt.json}
		if code := c.End(t.Context(), tt.do(c)); code != tt.code || msg.String() != tt.stderr {
			t.Errorf("%s: exit code %d, want %d; %q", name, code, tt.code, msg.String())
		}
	}
}

// full is a disk without room.
type full struct{ io.Writer }

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }
