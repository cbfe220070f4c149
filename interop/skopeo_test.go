// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"
)

// judgeSkopeo copies the whole index, zstd manifest included, to a layout and
// back to another repository.
func (s *stage) judgeSkopeo(t *testing.T) {
	t.Parallel()
	need(t, "skopeo")
	t.Log(strings.TrimSpace(s.run(t, "skopeo", "--version")))
	layout := "oci:" + filepath.Join(t.TempDir(), "layout") + ":copied"
	back := "docker://" + s.registry + "/copied/" + s.name + ":back"
	s.run(t, "skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false", "docker://"+s.envRef, layout)
	s.run(t, "skopeo", "--insecure-policy", "copy", "--all", "--dest-tls-verify=false", layout, back)
	sum := sha256.Sum256([]byte(s.run(t, "skopeo", "inspect", "--raw", "--tls-verify=false", back)))
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != s.envIndex {
		t.Errorf("the index came back as %s, not as %s", got, s.envIndex)
	}

	// What skopeo wrote is ours to read again.
	ref := strings.TrimPrefix(back, "docker://")
	s.run(t, s.program("metalpack"), "inspect", ref)
	t.Logf("skopeo copy --all to a layout and back: %s both times", s.envIndex)
}
