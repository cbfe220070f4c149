// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// judgeSkopeo copies the whole index, zstd manifest included, to a layout and
// back to another repository, and decompresses both manifests, whose layers
// must have the config's diff_ids then.
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

	for _, manifest := range []string{s.gzip, s.zstd} {
		dir := t.TempDir()
		s.run(t, "skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "--dest-decompress", "docker://"+repository(s.envRef)+"@"+manifest, "dir:"+dir)
		s.decompressed(t, dir)
	}

	// What skopeo wrote is ours to read again.
	ref := strings.TrimPrefix(back, "docker://")
	s.run(t, s.program("metalpack"), "inspect", ref)
	t.Logf("skopeo copy --all to a layout and back: %s both times", s.envIndex)
}

// decompressed compares what skopeo left in a directory, the manifest and each
// blob under its hex digest, with the config's diff_ids.
func (s *stage) decompressed(t *testing.T, dir string) {
	t.Helper()
	type manifest struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	type config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"` //nolint:tagliatelle // OCI spells it so
		} `json:"rootfs"`
	}
	m := readJSON[manifest](t, dir, "manifest.json")
	want := readJSON[config](t, dir, strings.TrimPrefix(m.Config.Digest, "sha256:")).RootFS.DiffIDs
	var got []string
	for _, l := range m.Layers {
		got = append(got, l.Digest)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) != s.layers {
		t.Errorf("%d layers as skopeo decompresses them (-diff_ids +got):\n%s", len(got), diff)
		return
	}
	t.Logf("skopeo copy --dest-decompress: %d layers have the config's diff_ids", len(got))
}
