// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
)

const cachedCommit = "0123456789abcdef0123456789abcdef01234567"

// cached lays out a cache as the hub's own programs do and returns the
// directory of the model.
func cached(t *testing.T) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "models--org--name")
	put(t, filepath.Join(home, "blobs", digest.FromBytes(weights).Encoded()), string(weights))
	put(t, filepath.Join(home, "blobs", "0a8fe71ee1ba2e4ca5fa9d4f2b6da3ea8fd8b5ab"), "{}")
	put(t, filepath.Join(home, "blobs", gitID), "")
	put(t, filepath.Join(home, "refs/main"), cachedCommit+"\n")
	link(t, "../../blobs/"+digest.FromBytes(weights).Encoded(), filepath.Join(home, "snapshots", cachedCommit, "model.safetensors"))
	link(t, "../../../blobs/"+gitID, filepath.Join(home, "snapshots", cachedCommit, "sub/empty.txt"))
	put(t, filepath.Join(home, "snapshots", cachedCommit, "README.md"), "---\nlicense: mit\n---\n")
	return home
}

func put(t *testing.T, p, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, p string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, p); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	home := cached(t)
	elsewhere := filepath.Join(t.TempDir(), "link")
	link(t, home, elsewhere)
	for _, dir := range []string{home, elsewhere, filepath.Join(home, "snapshots", cachedCommit)} {
		s, err := hub.OpenSnapshot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		files, err := s.Files(t.Context())
		want := []hub.File{
			{Path: "README.md", Size: 21},
			{Path: "model.safetensors", Size: 600_000, SHA256: digest.FromBytes(weights).Encoded()},
			{Path: "sub/empty.txt", GitID: gitID},
		}
		if diff := cmp.Diff(want, files); err != nil || diff != "" {
			t.Errorf("%s: %v %s", dir, err, diff)
		}
		card, err := s.Card(t.Context())
		if diff := cmp.Diff(hub.Card{License: "MIT", Source: "https://huggingface.co/org/name", Revision: cachedCommit}, card); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
		rc, err := s.Open(t.Context(), "model.safetensors", 599_990)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(rc); err != nil || rc.Close() != nil || string(got) != string(weights[599_990:]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if got, err := s.ReadRange(t.Context(), "model.safetensors", 8, 10); err != nil || string(got) != string(weights[8:18]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if got, err := s.ReadSmall(t.Context(), "sub/empty.txt", 0); err != nil || len(got) != 0 {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := s.Open(t.Context(), "../README.md", 0); !errors.Is(err, bundle.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	}
}

// TestSnapshotDamaged: a blob is not what its name says.
func TestSnapshotDamaged(t *testing.T) {
	t.Parallel()
	home := cached(t)
	put(t, filepath.Join(home, "blobs", digest.FromBytes(weights).Encoded()), strings.Repeat("x", 600_000))
	s, err := hub.OpenSnapshot(home)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, filepath.Join(home, "blobs", gitID), "more")
	for _, p := range []string{"model.safetensors", "sub/empty.txt"} {
		if _, err := s.ReadSmall(t.Context(), p, 0); !errors.Is(err, bundle.ErrMismatch) || !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// TestSnapshotRefuses: links that leave the model's directory, and all that is
// no snapshot.
func TestSnapshotRefuses(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "secret.json")
	put(t, outside, "secret")
	at := func(home, p string) string { return filepath.Join(home, "snapshots", cachedCommit, p) }
	tests := map[string]struct {
		spoil func(t *testing.T, home string) string // returns what is opened
		want  error
		text  string
	}{
		"absolute link": {func(t *testing.T, home string) string { link(t, outside, at(home, "a.json")); return home }, bundle.ErrInvalid, "a.json"},
		"link out": {func(t *testing.T, home string) string {
			put(t, filepath.Join(home, "../blobs/x"), "secret")
			link(t, "../../../blobs/x", at(home, "a.json"))
			return home
		}, bundle.ErrInvalid, "a.json"},
		"chain of links out": {func(t *testing.T, home string) string {
			link(t, outside, filepath.Join(home, "blobs/x"))
			link(t, "../../blobs/x", at(home, "a.json"))
			return home
		}, bundle.ErrInvalid, "a.json"},
		"link to a directory": {func(t *testing.T, home string) string { link(t, "../../blobs", at(home, "dir")); return home }, bundle.ErrInvalid, "not a file"},
		"loop":                {func(t *testing.T, home string) string { link(t, "a.json", at(home, "a.json")); return home }, bundle.ErrInvalid, "a.json"},
		"half a download":     {func(t *testing.T, home string) string { link(t, "../../blobs/none", at(home, "a.json")); return home }, bundle.ErrNotFound, "not complete"},
		"bad name":            {func(t *testing.T, home string) string { put(t, at(home, "a:b.json"), "x"); return home }, bundle.ErrInvalid, "colon"},
		"bad ref": {func(t *testing.T, home string) string {
			put(t, filepath.Join(home, "refs/main"), "../../x")
			return home
		}, bundle.ErrInvalid, "no commit"},
		"ref elsewhere": {func(t *testing.T, home string) string {
			put(t, filepath.Join(home, "refs/main"), strings.Repeat("f", 40))
			return home
		}, bundle.ErrNotFound, "does not hold"},
		"no ref": {func(t *testing.T, home string) string { os.RemoveAll(filepath.Join(home, "refs")); return home }, bundle.ErrNotFound, "snapshots"},
		"snapshot is a link": {func(t *testing.T, home string) string {
			os.RemoveAll(at(home, ""))
			link(t, filepath.Dir(outside), at(home, ""))
			return home
		}, bundle.ErrInvalid, cachedCommit},
		"another directory": {func(t *testing.T, _ string) string { return t.TempDir() }, hub.ErrNoSnapshot, ""},
		"data set": {func(t *testing.T, home string) string {
			other := filepath.Join(filepath.Dir(home), "datasets--org--name")
			put(t, filepath.Join(other, "refs/main"), cachedCommit)
			return other
		}, hub.ErrNoSnapshot, ""},
		"missing": {func(_ *testing.T, home string) string { return home + "x" }, bundle.ErrNotFound, "namex"},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, err := hub.OpenSnapshot(test.spoil(t, cached(t)))
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, got %v, want %q", s, err, test.text)
			}
		})
	}
}
