// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"errors"
	"testing"

	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
)

// FuzzParse: a lock is read, or refused by a sentinel; what is chosen from it has
// a digest and a file name that leads nowhere.
func FuzzParse(f *testing.F) {
	const head = "lock-version = '1.0'\ncreated-by = 'uv'\n"
	const sum = "0000000000000000000000000000000000000000000000000000000000000000"
	for _, s := range []string{
		"[[packages]]\nname = 'a'\nversion = '1'\nmarker = \"python_version > '3'\"\nwheels = [{ name = 'a-1-py3-none-any.whl', size = 1, hashes = { sha256 = '" + sum + "' } }]\n",
		"[[packages]]\nname = 'b'\narchive = { url = 'https://example.com/b-1-py3-none-any.whl', hashes = { sha256 = '" + sum + "' } }\n",
		"[[packages]]\nname = 'c'\nvcs = { type = 'git', url = 'https://example.com/c', commit-id = '1' }\n",
	} {
		f.Add(head + s)
	}
	to, err := target.New(bundle.Platform{OS: "linux", Arch: "amd64", Glibc: "2.35"}, "3.12.3")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data string) {
		l, err := Parse("pylock.toml", []byte(data))
		var wheels []Wheel
		if err == nil {
			wheels, err = l.Select(to)
		}
		if err != nil && !errors.Is(err, bundle.ErrInvalid) && !errors.Is(err, bundle.ErrUnsupportedHost) && !errors.Is(err, target.ErrNoWheel) {
			t.Fatalf("untyped: %v", err)
		}
		for _, w := range wheels {
			if len(w.SHA256) != len(sum) || bundle.CheckPath(w.File) != nil {
				t.Errorf("%+v", w)
			}
		}
	})
}
