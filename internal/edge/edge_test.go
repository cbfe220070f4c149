// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
)

func TestQuote(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"":                    `""`,
		"oci:./out-1_x:tag@a": "oci:./out-1_x:tag@a",
		"Mäc/rézept":          "Mäc/rézept",
		"a b":                 `"a b"`,
		"$(x) `y` \\ \"z\"":   "\"\\$(x) \\`y\\` \\\\ \\\"z\\\"\"",
		"*.py":                `"*.py"`,
		"~/x":                 `"~/x"`,
	} {
		if got := edge.Quote(word); got != want {
			t.Errorf("%q: got %s, want %s", word, got, want)
		}
	}
}

func TestFail(t *testing.T) {
	t.Parallel()
	own := errors.New("own")
	tests := []struct {
		name string
		err  error
		code int
		want []string
	}{
		{"plain", errors.New("disk is full"), edge.ExitError, []string{"metalpack: error: disk is full\n"}},
		{"usage", edge.Usagef("build: missing RECIPE"), edge.ExitUsage, []string{"error: build: missing RECIPE\n", "hint: see 'metalpack --help'"}},
		{"tails", fmt.Errorf("tag %q: two\nlines: %w", "x", bundle.ErrInvalid), edge.ExitError, []string{"error: tag \"x\": two\nlines\n"}},
		{"class only", edge.Errorf(bundle.ErrUnsupportedHost, "no target x: %w", bundle.ErrNotFound), edge.ExitUnsupported, []string{"error: no target x: not found\n"}},
		{"mismatch", fmt.Errorf("layer: %w", bundle.ErrMismatch), edge.ExitVerification, []string{"hint: the bytes are damaged"}},
		{"not found", fmt.Errorf("tag 9: %w", bundle.ErrNotFound), edge.ExitNotFound, []string{"error: tag 9: not found"}},
		{"full disk", &fs.PathError{Op: "write", Path: "layer", Err: syscall.ENOSPC}, edge.ExitError, []string{"error: write layer: no space left on device\n", "hint: make room there"}},
		{"forbidden", &fs.PathError{Op: "mkdir", Path: "out", Err: syscall.EACCES}, edge.ExitError, []string{"error: mkdir out: permission denied\n", "hint: look at who may read"}},
		{"read-only", &fs.PathError{Op: "mkdir", Path: "out", Err: syscall.EROFS}, edge.ExitError, []string{"hint: look at who may read"}},
		{"host", bundle.ErrUnsupportedHost, edge.ExitUnsupported, nil},
		{"interrupted", fmt.Errorf("copy: %w", context.Canceled), edge.ExitInterrupted, []string{"error: interrupted"}},
		{"own row", own, 3, []string{"hint: do this"}},
		{"own row of a common error", &fs.PathError{Op: "write", Path: "layer", Err: syscall.EDQUOT}, 5, []string{"hint: empty the bin"}},
		{"no network", fmt.Errorf("x: %w: connect: %w", bundle.ErrUnreachable, syscall.EDQUOT), edge.ExitError, []string{"hint: check the name, the network"}},
		{"own hint", edge.WithHint(bundle.ErrNotFound, "try %s", "x"), edge.ExitNotFound, []string{"hint: try x\n"}},
		{"escape", errors.New("name \x1b[2J"), edge.ExitError, []string{"name \uFFFD[2J"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var msg bytes.Buffer
			env := &edge.Env{Program: "metalpack", Stderr: &msg, Rows: []edge.Row{{Is: syscall.EDQUOT, Code: 5, Hint: "empty the bin"}, {Is: own, Code: 3, Hint: "do this"}}}
			if got := env.Fail(tt.err); got.ExitCode != tt.code {
				t.Errorf("exit code %d, want %d", got.ExitCode, tt.code)
			}
			for _, w := range tt.want {
				if !strings.Contains(msg.String(), w) {
					t.Errorf("stderr %q lacks %q", msg.String(), w)
				}
			}
		})
	}
}
