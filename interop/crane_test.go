// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// judgeCrane lets go-containerregistry recompute every digest, size and
// diff_id of the gzip manifest and the model. It cannot read zstd layers: the
// index is judged without its layers (--fast); skopeo moves those.
func (s *stage) judgeCrane(t *testing.T) {
	t.Parallel()
	t.Log("crane", strings.TrimSpace(s.tool(t, "crane", "version")))
	judged := [][]string{
		{"--remote", repository(s.envRef) + "@" + s.gzip},
		{"--remote", s.envRef, "--fast"},
	}
	for _, m := range s.models {
		judged = append(judged, []string{"--remote", m.ref})
	}
	for _, args := range judged {
		out := s.tool(t, "crane", append([]string{"validate"}, args...)...)
		if !strings.HasPrefix(out, "PASS: ") {
			t.Errorf("crane validate %s: %s", strings.Join(args, " "), out)
		}
		t.Logf("crane validate %s: %s", strings.Join(args, " "), strings.TrimSpace(out))
	}

	// A client that chooses by platform takes the first match and needs gzip.
	exported := filepath.Join(t.TempDir(), "image.tar")
	s.tool(t, "crane", "export", "--platform", s.platform, s.envRef, exported)
	got, tree := readTar(t, exported, s.name)
	if diff := cmp.Diff(parseTree(t, tree), got); diff != "" {
		t.Errorf("crane export differs from metalpack/tree (-want +got):\n%s", diff)
	}
	t.Logf("crane export: %d files of %d layers are as metalpack/tree lists them", len(got), s.layers)
}
