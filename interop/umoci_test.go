// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// judgeUmoci unpacks the gzip manifest and compares every file with
// metalpack/tree. umoci takes a tag of a layout, and wants a manifest there:
// oras copies it out of the index, from the registry, because in a layout it
// takes a digest that index.json does not list for a plain blob.
func (s *stage) judgeUmoci(t *testing.T) {
	t.Parallel()
	need(t, "umoci")
	t.Log(strings.TrimSpace(s.run(t, "umoci", "--version")))
	dir := t.TempDir()
	layout := filepath.Join(dir, "layout")
	s.tool(t, "oras", "copy", "--from-plain-http", repository(s.envRef)+"@"+s.gzip, "--to-oci-layout", layout+":gzip")

	// "umoci unpack" alone also writes the configuration of a runtime, which it
	// has for no other system than Linux.
	unpacked := filepath.Join(dir, "rootfs")
	args := []string{"raw", "unpack", "--image", layout + ":gzip", unpacked}
	if os.Geteuid() != 0 {
		args = slices.Insert(args, 2, "--rootless")
	}
	s.run(t, "umoci", args...)
	root := filepath.Join(unpacked, s.name)
	tree, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(treePath)))
	if err != nil {
		t.Fatal(err)
	}
	got := readDir(t, root)
	delete(got, treePath)
	if diff := cmp.Diff(parseTree(t, string(tree)), got); diff != "" {
		t.Errorf("umoci raw unpack differs from metalpack/tree (-want +got):\n%s", diff)
	}
	t.Logf("umoci raw unpack: %d files are as metalpack/tree lists them", len(got))
}
