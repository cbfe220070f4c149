// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"errors"
	"testing"

	"github.com/metalpack/metalpack/bundle"
)

// FuzzTree: whatever a hub says, what comes through obeys the rules.
func FuzzTree(f *testing.F) {
	f.Add([]byte(`[{"type":"directory","path":"a","size":0,"oid":"x"},{"type":"file","path":"a/b.json","size":3,"oid":"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"}]`))
	f.Add([]byte(`[{"type":"file","path":"model.safetensors","size":9,"oid":"x","lfs":{"oid":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":9,"pointerSize":134},"xetHash":"1"}]`))
	f.Add([]byte(`[{"type":"file","path":"../x","size":-1}]`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, rows, err := parseTree(data)
		if err != nil {
			if !errors.Is(err, bundle.ErrInvalid) || len(files) > 0 {
				t.Errorf("%d files and %v", len(files), err)
			}
			return
		}
		if len(files) > rows {
			t.Errorf("%d files of %d rows", len(files), rows)
		}
		for _, x := range files {
			if bundle.CheckPath(x.Path) != nil || x.Size < 0 || x.Size > MaxFile || (x.SHA256 == "") == (x.GitID == "") {
				t.Errorf("%+v", x)
			}
		}
	})
}
