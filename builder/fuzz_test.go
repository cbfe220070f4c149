// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"bytes"
	"errors"
	"testing"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
)

// FuzzInterpreter: whatever an archive says, what is planned of it has clean paths
// and lies inside of the archive.
func FuzzInterpreter(f *testing.F) {
	f.Add(wheeltest.Interpreter("darwin", "arm64", map[string]string{"lib/l": "-> ../bin/python", "lib/python3.12/site-packages/pip/x.py": ""}))
	in := &Input{Platform: bundle.Platform{OS: "darwin", Arch: "arm64"}, PythonVersion: "3.12"}
	f.Fuzz(func(t *testing.T, data []byte) {
		scan := &interpreterScan{}
		var files []plannedFile
		err := scan.run(t.Context(), &counter{r: bytes.NewReader(data)})
		if err == nil {
			files, err = new(interpreterStore).plan(in, scan)
		}
		if err != nil && !errors.Is(err, bundle.ErrInvalid) && !errors.Is(err, bundle.ErrUnsupportedHost) {
			t.Fatalf("untyped: %v", err)
		}
		for _, s := range scan.Files {
			if s.Offset < 0 || s.Size < 0 || err == nil && s.Offset+s.Size > int64(len(data)) {
				t.Errorf("%+v of %d", s, len(data))
			}
		}
		for _, p := range files {
			if bundle.CheckPath(p.Path) != nil || p.IsLink() && bundle.CheckLink(p.Path, p.Target) != nil {
				t.Errorf("%+v", p.TreeEntry)
			}
		}
	})
}
