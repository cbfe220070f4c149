// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

func TestParseSource(t *testing.T) {
	t.Parallel()
	dig := digest.FromString("x")
	for in, want := range map[string]struct {
		ref  bundle.Reference
		name string
	}{
		"org/name":                          {bundle.Reference{Transport: "docker", Registry: "docker.io", Repository: "org/name"}, "latest"},
		"smollm":                            {bundle.Reference{Transport: "docker", Registry: "docker.io", Repository: "ai/smollm"}, "latest"},
		"smollm:8bit":                       {bundle.Reference{Transport: "docker", Registry: "docker.io", Repository: "ai/smollm", Tag: "8bit"}, "8bit"},
		"docker://docker.io/org/name:v1":    {bundle.Reference{Transport: "docker", Registry: "docker.io", Repository: "org/name", Tag: "v1"}, "v1"},
		"localhost/name":                    {bundle.Reference{Transport: "docker", Registry: "localhost", Repository: "name"}, "latest"},
		"localhost:5000/a/b:V_1.2-3":        {bundle.Reference{Transport: "docker", Registry: "localhost:5000", Repository: "a/b", Tag: "V_1.2-3"}, "V_1.2-3"},
		"[::1]:5000/a":                      {bundle.Reference{Transport: "docker", Registry: "[::1]:5000", Repository: "a"}, "latest"},
		"r.example/a/b:t@" + dig.String():   {bundle.Reference{Transport: "docker", Registry: "r.example", Repository: "a/b", Tag: "t", Digest: dig}, dig.String()},
		"r.example/a__b/c--d":               {bundle.Reference{Transport: "docker", Registry: "r.example", Repository: "a__b/c--d"}, "latest"},
		"oci:dir":                           {bundle.Reference{Transport: "oci", Path: "dir"}, ""},
		"oci:/a:b/c:v1":                     {bundle.Reference{Transport: "oci", Path: "/a:b/c", Tag: "v1"}, "v1"},
		"oci:/a:b/c":                        {bundle.Reference{Transport: "oci", Path: "/a:b/c"}, ""},
		"oci:dir:v1@" + dig.String():        {bundle.Reference{Transport: "oci", Path: "dir", Tag: "v1", Digest: dig}, dig.String()},
		"oci-archive:a.tar:v1":              {bundle.Reference{Transport: "oci-archive", Path: "a.tar", Tag: "v1"}, "v1"},
		"oci-archive:a.tar@" + dig.String(): {bundle.Reference{Transport: "oci-archive", Path: "a.tar", Digest: dig}, dig.String()},
	} {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			got, err := bundle.ParseSource(in, "ai")
			if diff := cmp.Diff(want.ref, got); err != nil || diff != "" {
				t.Fatal(err, diff)
			}
			if got.Name() != want.name {
				t.Errorf("name %q, want %q", got.Name(), want.name)
			}
			again, err := bundle.ParseSource(got.String(), "")
			if diff := cmp.Diff(got, again); err != nil || diff != "" {
				t.Errorf("%s does not parse back: %v %s", got, err, diff)
			}
		})
	}
}

// TestParseSourceRefuses: HOSTILE N7 and D1 among what is refused.
func TestParseSourceRefuses(t *testing.T) {
	t.Parallel()
	hexes := strings.Repeat("a", 64)
	for _, in := range []string{
		"", "name", ":tag", "Org/name", "org//name", "org/name:", "org/name:../x", "org/name:" + strings.Repeat("a", 129), "org/na me", "org/../name",
		"docker.io@evil.com/x", "user@r.example/x", "r.example/a%2fb", "r.example:99999999/a", "r..example/a", "-r.example/a",
		"org/name@sha256:" + hexes[1:], "org/name@sha256:" + strings.ToUpper(hexes), "org/name@md5:" + hexes[:32], "org/name@sha256:" + hexes + "\n", "org/name@sha256:../../x",
		"org/name@sha512:" + hexes, "org/name@SHA256:" + hexes, "docker.io/org/name:v1:v2",
		"org/name@v1", "x:y@sha256", "r.example/a:../x", "r.example/a:v1%2f..", "r.example%2fa/b", "r.example:80@evil.com/x", "org/name:v1@sha256:" + hexes + "@sha256:" + hexes, "docker://", "oci:", "oci::v1", "oci:dir:a b", "oci-archive:", "r.example/" + strings.Repeat("a", 256), "https://r.example/a",
	} {
		if ref, err := bundle.ParseSource(in, ""); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%q: got %+v, %v", in, ref, err)
		}
	}
}

func TestParseDestination(t *testing.T) {
	t.Parallel()
	_, err := bundle.ParseDestination("org/name", "")
	if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "docker://org/name") {
		t.Errorf("a bare word: %v", err)
	}
	if _, err := bundle.ParseDestination("oci:dir:v1", ""); err != nil {
		t.Error(err)
	}
}

func FuzzParseSource(f *testing.F) {
	for _, s := range []string{"org/name:v1", "docker://localhost:5000/a", "oci:dir:v1", "oci-archive:a.tar", "x@sha256:" + strings.Repeat("0", 64)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := bundle.ParseSource(s, "ai")
		if err != nil {
			if !errors.Is(err, bundle.ErrInvalid) {
				t.Errorf("not ErrInvalid: %v", err)
			}
			return
		}
		again, err := bundle.ParseSource(ref.String(), "ai")
		if diff := cmp.Diff(ref, again); err != nil || diff != "" {
			t.Errorf("%q -> %q does not parse back: %v %s", s, ref, err, diff)
		}
	})
}
