// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pipInstalls are the hostile wheels that pip installs without a word. It
// refuses the others, or falls over them.
var pipInstalls = []string{
	"Z1 NUL", "Z1 backslash", "Z1 control character", "Z1 device", "Z1 device name", "Z1 directory is a symlink", "Z1 dot", "Z1 double slash",
	"Z1 drive", "Z1 fifo", "Z1 not UTF-8", "Z1 socket", "Z1 symlink", "Z2 directory twice", "Z2 duplicate", "Z2 file and directory", "Z4 AES",
	"Z4 a comment", "Z4 another disk", "Z4 bytes before members", "Z4 bytes between members", "Z4 comment with a zip", "Z4 descriptor",
	"Z4 descriptor is none", "Z4 directory with content", "Z4 fewer members", "Z4 hidden bytes", "Z4 local CRC-32", "Z4 local flags", "Z4 local method",
	"Z4 local size", "Z4 local time", "Z4 more members", "Z4 prefix", "Z4 second name", "Z4 trailing bytes", "Z4 two archives",
	"Z4 zip64 fewer members", "Z4 zip64 field twice", "Z4 zip64 locator elsewhere", "Z4 zip64 long record", "Z6 NUL", "Z6 absolute", "Z6 another case",
	"Z6 backslash", "Z6 empty", "Z6 extra row", "Z6 four fields", "Z6 missing row", "Z6 negative size", "Z6 no hash", "Z6 not CSV", "Z6 not clean",
	"Z6 parent", "Z6 quoted absolute", "Z6 row twice", "Z6 short hash", "Z6 size in hex", "Z6 two fields", "Z6 unlisted file", "Z6 weak hash",
	"Z6 wrong size", "Z7 _pth", "Z7 build marker", "Z7 build marker in data", "Z7 case", "Z7 native sitecustomize", "Z7 pth", "Z7 pth in upper case",
	"Z7 pth through data", "Z7 pth through platlib", "Z7 pth without a name", "Z7 pycache", "Z7 pyvenv", "Z7 pyvenv in bin", "Z7 sitecustomize",
	"Z7 usercustomize", "Z8 a script and an entry point", "Z8 data metadata", "Z8 data of another", "Z8 data other record", "Z8 data own record",
	"Z8 data python", "Z8 data stdlib", "Z8 egg-info as a file", "Z8 egg-info of another", "Z8 endless line", "Z8 entry point absolute",
	"Z8 entry point activate", "Z8 entry point code", "Z8 entry point path", "Z8 entry point python", "Z8 entry point quote", "Z8 entry point twice",
	"Z8 library as a directory of that name", "Z8 library as an archive", "Z8 library in another case", "Z8 metadata name", "Z8 metadata twice",
	"Z8 metadata version", "Z8 purelib maybe", "Z8 purelib missing", "Z8 scripts activate", "Z8 scripts nested", "Z8 scripts python",
	"Z8 two files at one place", "Z8 wheel version twice", "Z8 window python", "Z9 byte code of another case", "Z9 byte code without a source",
	"Z9 stale byte code", "bomb", "bomb of small files",
}

// TestPipOracleHostile keeps pipInstalls true; make oracle starts it.
func TestPipOracleHostile(t *testing.T) {
	t.Parallel()
	python := os.Getenv("METALPACK_TEST_ORACLE_PYTHON")
	if python == "" {
		t.Skip("make oracle starts this")
	}
	all := hostileWheels()
	maps.Copy(all, forgedArchives())
	maps.Copy(all, hostileFiles())
	var got []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		dir := t.TempDir()
		file := filepath.Join(dir, hostileName)
		if err := os.WriteFile(file, all[name], 0o600); err != nil {
			t.Fatal(err)
		}
		root := filepath.Join(dir, "deep", "enough", "for", "two", "steps", "up")
		if exec.CommandContext(t.Context(), python, "-I", filepath.Join("testdata", "pip_install.py"), "demo", file, root).Run() == nil {
			got = append(got, name)
		}
	}
	if d := cmp.Diff(pipInstalls, got); d != "" {
		t.Errorf("what pip installs of %d hostile wheels (-listed +now):\n%s", len(all), d)
	}
}
