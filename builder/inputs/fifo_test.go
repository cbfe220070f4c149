// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package inputs_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/bundle"
)

// TestFIFO: what lies under a wheel's name and is no file is refused. To open it
// would hang, and no Ctrl-C ends that.
func TestFIFO(t *testing.T) {
	t.Parallel()
	w, links := wheel("demo", []byte("x")), t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(links, w.File), 0o600); err != nil {
		t.Skip(err)
	}
	f := &inputs.Fetcher{Cache: inputs.NewCache(t.TempDir()), FindLinks: []string{links}}
	if _, err := f.Fetch(t.Context(), []inputs.Want{w}); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("fetch: %v", err)
	}
	if _, err := f.Locate(t.Context(), w); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("locate: %v", err)
	}
}
