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

// TestSnapshotCloned: a target can clone a file of a cache, which then is read
// from the clone; where there are no clones it is read as it is.
func TestSnapshotCloned(t *testing.T) {
	t.Parallel()
	s, err := hub.OpenSnapshot(cached(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in, err := s.Origin(nil).Open(t.Context(), "model.safetensors", 0)
	if err != nil {
		t.Fatal(err)
	}
	c, ok := in.(bundle.Cloner)
	if !ok {
		t.Fatalf("%T is no cloner", in)
	}
	clone := filepath.Join(t.TempDir(), "clone")
	switch err := c.CloneTo(clone); {
	case err != nil:
		t.Logf("no clones here: %v", err)
	default:
		if err := os.WriteFile(clone, weights[:1000], 0o600); err != nil { // what is read is the clone
			t.Fatal(err)
		}
		if got, err := io.ReadAll(in); err != nil || len(got) != 1000 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		return
	}
	if got, err := io.ReadAll(in); err != nil || in.Close() != nil || string(got) != string(weights) {
		t.Errorf("%d bytes, %v", len(got), err)
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
	const at = "snapshots/" + cachedCommit
	tests := map[string]struct {
		remove string            // below the model's directory, as all paths here
		files  map[string]string // content
		links  map[string]string // target
		open   string
		want   error
		text   string
	}{
		"absolute link":       {links: map[string]string{at + "/a.json": outside}, want: bundle.ErrInvalid, text: "a.json"},
		"link out":            {files: map[string]string{"../blobs/x": "secret"}, links: map[string]string{at + "/a.json": "../../../blobs/x"}, want: bundle.ErrInvalid, text: "a.json"},
		"chain of links out":  {links: map[string]string{"blobs/x": outside, at + "/a.json": "../../blobs/x"}, want: bundle.ErrInvalid, text: "a.json"},
		"link to a directory": {links: map[string]string{at + "/dir": "../../blobs"}, want: bundle.ErrInvalid, text: "not a file"},
		"loop":                {links: map[string]string{at + "/a.json": "a.json"}, want: bundle.ErrInvalid, text: "a.json"},
		"half a download":     {links: map[string]string{at + "/a.json": "../../blobs/none"}, want: bundle.ErrNotFound, text: "not complete"},
		"snapshot is a link":  {remove: at, links: map[string]string{at: filepath.Dir(outside)}, want: bundle.ErrInvalid, text: cachedCommit},
		"bad name":            {files: map[string]string{at + "/a:b.json": "x"}, want: bundle.ErrInvalid, text: "colon"},
		"bad ref":             {files: map[string]string{"refs/main": "../../x"}, want: bundle.ErrInvalid, text: "no commit"},
		"ref elsewhere":       {files: map[string]string{"refs/main": strings.Repeat("f", 40)}, want: bundle.ErrNotFound, text: "does not hold"},
		"no ref":              {remove: "refs", want: bundle.ErrNotFound, text: "snapshots"},
		"another directory":   {open: "..", want: hub.ErrNoSnapshot},
		"data set":            {files: map[string]string{"../datasets--org--name/refs/main": cachedCommit}, open: "../datasets--org--name", want: hub.ErrNoSnapshot},
		"missing":             {open: "../models--org--namex", want: bundle.ErrNotFound, text: "namex"},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			home := cached(t)
			if test.remove != "" {
				if err := os.RemoveAll(filepath.Join(home, test.remove)); err != nil {
					t.Fatal(err)
				}
			}
			for p, data := range test.files {
				put(t, filepath.Join(home, p), data)
			}
			for p, target := range test.links {
				link(t, target, filepath.Join(home, p))
			}
			s, err := hub.OpenSnapshot(filepath.Join(home, test.open))
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, got %v, want %q", s, err, test.text)
			}
		})
	}
}
