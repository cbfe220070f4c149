// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"path/filepath"
	"strings"
	"testing"
)

// judgeOras pulls every model; each file of the source must be there, with its
// bytes.
func (s *stage) judgeOras(t *testing.T) {
	t.Parallel()
	version, _, _ := strings.Cut(s.tool(t, "oras", "version"), "\n")
	t.Log("oras", strings.Join(strings.Fields(version), " "))
	s.eachModel(t, func(t *testing.T, m published) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "pulled")
		s.tool(t, "oras", "pull", "--plain-http", "--output", dir, m.ref)
		m.same(t, "oras pull", dir)
	})
}
