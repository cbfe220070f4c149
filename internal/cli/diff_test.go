// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/metalpack/metalpack/bundle"
)

// variantsOf makes the platforms of an artifact: os/arch, floor, version id.
func variantsOf(rows ...[3]string) (out inspected) {
	for _, r := range rows {
		out.Manifests = append(out.Manifests, inspectedManifest{
			Platform: r[0], Floor: r[1], VersionID: r[2], TreeDigest: r[2],
			Environment: &bundle.Environment{Name: "demo"}, tree: new(bundle.Tree),
		})
	}
	return out
}

func TestPairs(t *testing.T) {
	t.Parallel()
	const mac, linux = "darwin/arm64", "linux/amd64"
	for name, tt := range map[string]struct {
		old, next inspected
		want      []platformDiff
	}{
		"the same":      {variantsOf([3]string{mac, "15.0", "a"}), variantsOf([3]string{mac, "15.0", "a"}), []platformDiff{{mac, "15.0", "same", nil}}},
		"another floor": {variantsOf([3]string{mac, "14.0", "a"}), variantsOf([3]string{mac, "15.0", "b"}), []platformDiff{{mac, "15.0", "changed", nil}}},
		"one each":      {variantsOf([3]string{mac, "15.0", "a"}), variantsOf([3]string{linux, "2.35", "a"}), []platformDiff{{linux, "2.35", "added", nil}, {mac, "15.0", "removed", nil}}},
		"a floor more": {
			variantsOf([3]string{mac, "15.0", "a"}), variantsOf([3]string{mac, "15.0", "b"}, [3]string{mac, "26.0", "c"}),
			[]platformDiff{{mac, "15.0", "changed", nil}, {mac, "26.0", "added", nil}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := pairs(tt.old, tt.next)
			if d := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(platformDiff{}, "Diff")); d != "" {
				t.Error(d)
			}
			for _, p := range got {
				if (p.Diff != nil) != (p.Kind == "same" || p.Kind == "changed") {
					t.Errorf("%s %s: diff %v", p.Platform, p.Kind, p.Diff)
				}
			}
		})
	}
}

// What a package or a recipe says must stay one cell, and name nobody.
func TestMarkdown(t *testing.T) {
	t.Parallel()
	got := mdTable("r", [][]string{{"a"}, {"x | <b>\n@team #1 _y_ `z`"}})
	if want := "| a |\n|--:|\n| x \\| &lt;b> &#64;team \\#1 \\_y\\_ \\`z\\` |\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
