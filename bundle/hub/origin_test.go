// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/regtest"
)

// An origin holds what belongs to a model, knows what the hub knows, and names
// the rest.
func TestOriginList(t *testing.T) {
	t.Parallel()
	h, repo, rec := open(t)
	got, err := repo.Origin().List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := &model.Listing{
		Name:  "hf.co/" + name + "@" + repo.Commit()[:12],
		Facts: model.Facts{Source: h.Endpoint + "/" + name, Revision: repo.Commit()},
		Files: []model.OriginFile{
			{Path: "README.md", Size: 73},
			{Path: "config.json", Size: 23},
			{Path: "empty.txt"},
			{Path: "model.safetensors", Size: 600_000, SHA256: digest.FromBytes(weights).Encoded()},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	note := []bundle.Event{{Kind: bundle.EventNote, What: got.Name, Reason: got.Name + ": left out, as no part of an MLX model: images/with blank #1?.png"}}
	if diff := cmp.Diff(note, rec.Events); diff != "" {
		t.Errorf("events -want +got:\n%s", diff)
	}
}

// A reader of the header causes no more to be sent than the head; all of a
// file comes from any byte on.
func TestOriginOpen(t *testing.T) {
	t.Parallel()
	h, repo, _ := open(t)
	origin := repo.Origin()
	in, err := origin.Open(t.Context(), "model.safetensors", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(in, make([]byte, 256<<10)); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	asked := h.Storage.Requests(http.MethodGet, "")
	if len(asked) != 1 || asked[0].Header.Get("Range") != "bytes=0-262143" {
		t.Errorf("asked %v", asked)
	}
	for _, offset := range []int64{0, 1, 256 << 10, 600_000} {
		if got, err := readFrom(t, origin, "model.safetensors", offset); err != nil || !bytes.Equal(got, weights[offset:]) {
			t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
		}
	}
	if got, err := readFrom(t, origin, "config.json", 2); err != nil || string(got) != "model_type\": \"llama\"}" {
		t.Errorf("%q, %v", got, err)
	}
}

// A snapshot of the hub's cache is the same model, and nothing of it is hashed
// that the cache has hashed.
func TestSnapshotOrigin(t *testing.T) {
	t.Parallel()
	home := cached(t)
	put(t, filepath.Join(home, "snapshots", cachedCommit, "pytorch_model.bin"), "pickle")
	s, err := hub.OpenSnapshot(home)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	rec := &regtest.Recorder{}
	origin := s.Origin(rec.Emit)
	got, err := origin.List(t.Context())
	want := &model.Listing{
		Name:  "hf.co/org/name@0123456789ab",
		Facts: model.Facts{Source: "https://huggingface.co/org/name", Revision: cachedCommit},
		Files: []model.OriginFile{
			{Path: "README.md", Size: 21}, {Path: "model.safetensors", Size: 600_000, SHA256: digest.FromBytes(weights).Encoded()}, {Path: "sub/empty.txt"},
		},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v -want +got:\n%s", err, diff)
	}
	if len(rec.Events) != 1 || !strings.HasSuffix(rec.Events[0].Reason, ": pytorch_model.bin") {
		t.Errorf("events %v", rec.Events)
	}
	for path, want := range map[string]string{"README.md": "---\nlicense: mit\n---\n"[2:], "model.safetensors": string(weights[2:])} {
		if got, err := readFrom(t, origin, path, 2); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	put(t, filepath.Join(home, "blobs", gitID), "no longer empty")
	for path, want := range map[string]error{"sub/empty.txt": bundle.ErrMismatch, "none": bundle.ErrNotFound} {
		if _, err := readFrom(t, origin, path, 0); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
}

// A commit whose weights are all left out is refused in a sentence that says
// what they are. What a file is called decides: nothing is read.
func TestOriginOtherWeights(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		files []string
		want  string // "" = it is listed
	}{
		"gguf":               {[]string{"README.md", "m-Q4_K_M.GGUF", "m-Q8_0.gguf"}, "GGUF weights (m-Q4_K_M.GGUF, m-Q8_0.gguf)"},
		"pytorch":            {[]string{"config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"}, "PyTorch weights (pytorch_model-00001-of-00002.bin, pytorch_model-00002-of-00002.bin)"},
		"its checkpoints":    {[]string{"original/consolidated.00.pth"}, "PyTorch weights (original/consolidated.00.pth)"},
		"both":               {[]string{"a.gguf", "pytorch_model.bin"}, "GGUF weights (a.gguf)"},
		"older mlx":          {[]string{"config.json", "weights.npz"}, "NumPy weights (weights.npz)"},
		"beside safetensors": {[]string{"model.safetensors", "pytorch_model.bin", "a.gguf"}, ""},
		"of another name":    {[]string{"consolidated.safetensors", "a.gguf"}, ""},
		"no weights":         {[]string{"config.json", "training_args.bin"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := filepath.Join(t.TempDir(), "models--org--name")
			for _, f := range tt.files {
				put(t, filepath.Join(home, "snapshots", cachedCommit, f), f)
			}
			s, err := hub.OpenSnapshot(filepath.Join(home, "snapshots", cachedCommit))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			_, err = s.Origin(nil).List(t.Context())
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e, ok := errors.AsType[*hub.Error](err)
			if want := "hf.co/org/name@0123456789ab: the repository has " + tt.want + " and no safetensors"; !ok || !errors.Is(err, bundle.ErrInvalid) || err.Error() != want {
				t.Fatalf("got %v, want %s", err, want)
			}
			if !strings.Contains(e.Hint(), "mlx-community") {
				t.Errorf("hint %q", e.Hint())
			}
		})
	}
}

func readFrom(t *testing.T, o model.Origin, path string, offset int64) ([]byte, error) {
	t.Helper()
	in, err := o.Open(t.Context(), path, offset)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(in)
	return data, errors.Join(err, in.Close())
}

func TestOriginOpenRefused(t *testing.T) {
	t.Parallel()
	h, repo, _ := open(t)
	h.Handle("/"+name+"/resolve/"+repo.Commit()+"/README.md", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Repo-Commit", repo.Commit())
		_, _ = w.Write(bytes.Repeat([]byte("x"), 73)) // the right size, and no etag to tell
	})
	for _, tt := range []struct {
		path   string
		offset int64
		want   error
	}{
		{"README.md", 0, bundle.ErrMismatch},
		{"config.json", 24, bundle.ErrInvalid},
		{"config.json", -1, bundle.ErrInvalid},
		{"model.safetensors", 600_001, bundle.ErrInvalid},
		{"none.json", 0, bundle.ErrNotFound},
	} {
		if _, err := readFrom(t, repo.Origin(), tt.path, tt.offset); !errors.Is(err, tt.want) {
			t.Errorf("%s from %d: got %v, want %v", tt.path, tt.offset, err, tt.want)
		}
	}
}
