// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"path/filepath"
	"testing"
)

// judgeModctl lets the reference client of ModelPack pull the models of that
// format: through its own store, and straight into a directory. It knows no
// other format. Its tree is twice as large as all others here, so it has a
// go.mod of its own.
func (s *stage) judgeModctl(t *testing.T) {
	t.Parallel()
	s.eachModel(t, func(t *testing.T, m published) {
		t.Helper()
		if m.format != "modelpack" {
			t.Skip("modctl reads ModelPack alone")
		}
		work := t.TempDir()
		for name, flags := range map[string][]string{"store": nil, "remote": {"--extract-from-remote"}} {
			dir := filepath.Join(work, name)
			s.run(t, "go", append([]string{
				"tool", "-modfile=modctl.mod", "modctl", "--no-progress", "--storage-dir", filepath.Join(work, "storage"), "--log-dir", filepath.Join(work, "log"),
				"pull", m.ref, "--plain-http", "--extract-dir", dir,
			}, flags...)...)
			m.same(t, "modctl pull by its "+name, dir)
		}
	})
}
