// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	if u, err := s.Usage(); err != nil || cmp.Diff(Usage{}, u) != "" {
		t.Errorf("a store that is not there: %+v, %v", u, err)
	}
	m := pull(t, s, newModel(t, `{"model_type":"a"}`), "a")
	pull(t, s, newModel(t, `{"model_type":"b"}`), "b")
	mustMaterialize(t, s, "a")
	link(t, s, m)
	blobs := filepath.Dir(weightBlob(s, m))
	err := errors.Join(
		os.WriteFile(filepath.Join(blobs, strings.Repeat("0", 64)), make([]byte, 10), 0o600),
		os.WriteFile(filepath.Join(blobs, strings.Repeat("1", 64)+".incomplete"), make([]byte, 20), 0o600),
		os.WriteFile(filepath.Join(blobs, strings.Repeat("2", 64)+partialSuffix), make([]byte, 30), 0o600),
		os.Symlink("/", filepath.Join(blobs, strings.Repeat("3", 64))),
		os.WriteFile(filepath.Join(s.dir, "bundles", "sha256", m.ID.Encoded(), "config.json"), make([]byte, 40), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	u, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Amount{"unreferenced": {1, 10}, "partial": {2, 50}, "links": {1, 40}}
	got := map[string]Amount{"unreferenced": u.Unreferenced, "partial": u.Partial, "links": u.Links}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// Four files and a config each; three files are the same.
	if u.Used.Files != 7 || u.Shared.Files != 3 || u.Copies.Files != 3 || len(u.Models) != 2 {
		t.Errorf("%+v", u)
	}
	var own int64
	for _, m := range u.Models {
		if m.Blobs.Files != 5 || m.Own.Files != 2 || m.Missing != 0 || m.Blobs.Bytes-m.Own.Bytes != u.Shared.Bytes {
			t.Errorf("%+v", m)
		}
		own += m.Own.Bytes
	}
	if u.Used.Bytes != own+u.Shared.Bytes {
		t.Errorf("%d bytes are used, %d by one, %d by several", u.Used.Bytes, own, u.Shared.Bytes)
	}
	if err := os.Remove(weightBlob(s, m)); err != nil {
		t.Fatal(err)
	}
	if u, err = s.Usage(); err != nil || u.Models[0].Missing != 1 || u.Models[1].Missing != 1 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := pull(t, s, newModel(t, `{}`), "x")
	weights := m.Info.Files[len(m.Info.Files)-2].Descriptor
	path := s.blobPath(weights.Digest)
	for _, step := range []struct {
		do   func() error
		want BlobState
	}{
		{func() error { return nil }, BlobVerified},
		{func() error { return os.Chmod(path, 0o600) }, BlobThere},
		{func() error { return os.Truncate(path, 1) }, BlobDamaged},
		{func() error { return os.Remove(path) }, BlobMissing},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := s.State(weights); got != step.want {
			t.Errorf("got %s, want %s", got, step.want)
		}
	}
}
