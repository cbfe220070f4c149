// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle_test

import (
	"errors"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/metalpack/metalpack/bundle"
)

// TestHostileIndexes (HOSTILE M4): of an index one entry is right for a host, or
// none is taken.
func TestHostileIndexes(t *testing.T) {
	t.Parallel()
	host := bundle.Platform{OS: "linux", Arch: "arm64", Glibc: "2.40"}
	with := func(change func(*bundle.Descriptor)) bundle.Descriptor {
		d := entry("linux", "arm64", "2.35", true)
		change(&d)
		return d
	}
	variant := func(v string) bundle.Descriptor {
		return with(func(d *bundle.Descriptor) {
			d.Platform.Variant, d.Digest = v, bundle.DescriptorOf("", []byte(v)).Digest
		})
	}
	for name, c := range map[string]struct {
		entries []bundle.Descriptor
		want    string // "" = good
	}{
		"one":                  {[]bundle.Descriptor{variant("")}, ""},
		"its usual variant":    {[]bundle.Descriptor{variant("v8")}, ""},
		"two alike":            {[]bundle.Descriptor{variant(""), with(func(d *bundle.Descriptor) { d.Digest = bundle.DescriptorOf("", nil).Digest })}, "2 entries for linux/arm64"},
		"two by variant":       {[]bundle.Descriptor{variant(""), variant("v8")}, "2 entries for linux/arm64"},
		"another variant":      {[]bundle.Descriptor{variant("v9")}, "with a variant or features"},
		"a variant beside":     {[]bundle.Descriptor{variant(""), variant("v7")}, "with a variant or features"},
		"case of a variant":    {[]bundle.Descriptor{variant("V8")}, "with a variant or features"},
		"features":             {[]bundle.Descriptor{with(func(d *bundle.Descriptor) { d.Platform.OSFeatures = []string{"sve"} })}, "with a variant or features"},
		"a variant of another": {[]bundle.Descriptor{variant(""), with(func(d *bundle.Descriptor) { d.Platform.Architecture, d.Platform.Variant = "arm", "v7" })}, ""},
		"nested":               {[]bundle.Descriptor{with(func(d *bundle.Descriptor) { d.MediaType = bundle.MediaTypeIndex })}, "want a manifest with a platform"},
		"no platform":          {[]bundle.Descriptor{with(func(d *bundle.Descriptor) { d.Platform = nil })}, "want a manifest with a platform"},
	} {
		got, err := bundle.SelectManifest(&ocispec.Index{Manifests: c.entries}, host)
		if c.want == "" && (err != nil || got.Digest != c.entries[0].Digest) {
			t.Errorf("%s: %v, %v", name, got.Digest, err)
		}
		if c.want != "" && (!errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
