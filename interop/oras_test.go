// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// judgeOras pulls the model; every file of the source must be there, with its
// bytes.
func (s *stage) judgeOras(t *testing.T) {
	t.Parallel()
	version, _, _ := strings.Cut(s.tool(t, "oras", "version"), "\n")
	t.Log("oras", strings.Join(strings.Fields(version), " "))
	dir := filepath.Join(t.TempDir(), "pulled")
	s.tool(t, "oras", "pull", "--plain-http", "--output", dir, s.modelRef)
	want := s.source(t)
	if diff := cmp.Diff(want, readDir(t, dir)); diff != "" {
		t.Errorf("oras pull differs from the source (-want +got):\n%s", diff)
	}
	t.Logf("oras pull: %d files have the source's bytes", len(want))
}

// source describes the model's directory.
func (s *stage) source(t *testing.T) files {
	t.Helper()
	return readDir(t, s.modelSource)
}
