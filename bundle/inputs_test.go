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

func TestInputsManifest(t *testing.T) {
	t.Parallel()
	a, b := digest.FromString("a"), digest.FromString("bb")
	data, err := bundle.EncodeInputs([]bundle.InputFile{{Name: "b.whl", Digest: b, Size: 2}, {Name: "a-1+x.tar", Digest: a, Size: 1}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.metalpack.inputs.v1",` +
		`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + digest.FromString("{}").String() + `","size":2},"layers":[` +
		`{"mediaType":"application/vnd.metalpack.input.v1.raw","digest":"` + a.String() + `","size":1,"annotations":{"org.opencontainers.image.title":"a-1+x.tar"}},` +
		`{"mediaType":"application/vnd.metalpack.input.v1.raw","digest":"` + b.String() + `","size":2,"annotations":{"org.opencontainers.image.title":"b.whl"}}]}`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	got, err := bundle.ParseInputs(data)
	if err != nil || len(got) != 2 || got[1] != (bundle.InputFile{Name: "b.whl", Digest: b, Size: 2}) {
		t.Errorf("got %v, %v", got, err)
	}
	for name, change := range map[string][2]string{
		"another artifact": {"vnd.metalpack.inputs.v1", "vnd.metalpack.inputs.v2"},
		"no name":          {"org.opencontainers.image.title", "title"},
		"a path":           {`"b.whl"`, `"../b.whl"`},
		"a directory":      {`"b.whl"`, `"b/b.whl"`},
		"twice":            {`"b.whl"`, `"a-1+x.tar"`},
		"a bad digest":     {b.String(), "md5:00"},
	} {
		if _, err := bundle.ParseInputs([]byte(strings.ReplaceAll(want, change[0], change[1]))); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := bundle.EncodeInputs([]bundle.InputFile{{Name: "x", Digest: a}, {Name: "x", Digest: b}}); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("two of one name: %v", err)
	}
}
