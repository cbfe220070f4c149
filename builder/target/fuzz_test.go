// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package target

import (
	"errors"
	"testing"

	"github.com/metalpack/metalpack/bundle"
)

// FuzzMarker: a marker is true, false, or refused by the sentinel.
func FuzzMarker(f *testing.F) {
	for _, s := range []string{
		"python_version >= '3.8' and (sys_platform == 'darwin' or 'x' in extras)", "os_name not in \"nt\"", "((((", "platform_release > '1' or", "'a' == 'b'",
	} {
		f.Add(s)
	}
	to, err := New(bundle.Platform{OS: "darwin", Arch: "arm64", MacOS: "15.0"}, "3.12.3")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, marker string) {
		if _, err := to.Eval(marker, Sets{}); err != nil && !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("untyped: %v", err)
		}
		if _, err := to.AdmitsPython(marker); err != nil && !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("untyped: %v", err)
		}
	})
}

// FuzzWheelName: a file name is read, or refused by the sentinel, and is one of a
// bounded number of tags.
func FuzzWheelName(f *testing.F) {
	for _, s := range []string{"a-1-py3-none-any.whl", "a-1-1x-cp312.cp311-abi3-macosx_11_0_arm64.whl", "-.whl", "a-1-a.a.a.a-b.b.b.b-c.c.c.c.whl"} {
		f.Add(s)
	}
	to, err := New(bundle.Platform{OS: "darwin", Arch: "arm64", MacOS: "15.0"}, "3.12.3")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if _, err := ParseWheelName(name); err != nil && !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("untyped: %v", err)
		}
		if err := to.Accepts(name); err != nil && !errors.Is(err, bundle.ErrInvalid) && !errors.Is(err, ErrNoWheel) {
			t.Errorf("untyped: %v", err)
		}
	})
}
