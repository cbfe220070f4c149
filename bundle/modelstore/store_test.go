// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
)

// weightSize is large enough to be cut in the middle.
const weightSize = 1 << 20

// newModel builds an artifact with the given config.json.
func newModel(t *testing.T, config string) *model.Artifact {
	t.Helper()
	return newModelOf(t, config, 0)
}

// newModelOf is newModel with weights that are all of one byte.
func newModelOf(t *testing.T, config string, weight byte) *model.Artifact {
	t.Helper()
	dir := t.TempDir()
	header := `{"w":{"dtype":"U8","shape":[1048576],"data_offsets":[0,1048576]}}`
	weights := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	weights = append(append(weights, header...), bytes.Repeat([]byte{weight}, weightSize)...)
	for name, data := range map[string][]byte{
		"config.json": []byte(config), "model.safetensors": weights,
		"tokenizer.json": []byte("{ }"), "chat_template.jinja": []byte("x"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := model.Build(t.Context(), model.Dir(dir, nil), model.Options{Allow: []string{model.RuleModelFile}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "models"), filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	s.secondLook = 0
	return s
}

func pull(t *testing.T, s *Store, a bundle.Source, ref string) Model {
	t.Helper()
	root, err := a.Resolve(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Pull(t.Context(), a, root, ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func weightBlob(s *Store, m Model) string {
	for _, f := range m.Info.Files {
		if f.Kind == model.KindWeight {
			return s.blobPath(f.Descriptor.Digest)
		}
	}
	return ""
}

func TestPullListFind(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Fatalf("a store that is not there: %v, %v", list, err)
	}
	a, b := newModel(t, `{"model_type":"a"}`), newModel(t, `{"model_type":"b"}`)
	m := pull(t, s, a, "Tiny")
	if m.ID != a.Root().Digest || m.Info.Architecture != "a" {
		t.Errorf("%+v", m)
	}
	pull(t, s, a, "hf.co/o/tiny:v1")
	pull(t, s, b, "ai/tiny") // takes the tag
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for _, m := range list {
		got = append(got, m.Tags)
	}
	if diff := cmp.Diff([][]string{{"huggingface.co/o/tiny:v1"}, {"docker.io/ai/tiny:latest"}}, got); diff != "" {
		t.Error(diff)
	}
	for _, m := range list {
		for _, name := range Names(m) {
			if found, err := s.Find(name); err != nil || found.ID != m.ID {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if _, err := s.Find("other"); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if layout, err := os.ReadFile(filepath.Join(s.dir, "layout.json")); err != nil || string(layout) != "{\n  \"version\": \"1.0.0\"\n}" {
		t.Errorf("layout.json: %q, %v", layout, err)
	}
	if info, err := os.Stat(weightBlob(s, m)); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// cutSource ends each weight after half of its bytes while broken, and counts
// the bytes it gives.
type cutSource struct {
	*model.Artifact
	broken bool
	given  atomic.Int64
}

func (c *cutSource) Open(ctx context.Context, d bundle.Descriptor, offset int64) (io.ReadCloser, error) {
	rc, err := c.Artifact.Open(ctx, d, offset)
	if err != nil || d.Size < weightSize {
		return rc, err
	}
	r := io.Reader(rc)
	if c.broken {
		r = io.MultiReader(io.LimitReader(rc, d.Size/2), failing{})
	}
	return struct {
		io.Reader
		io.Closer
	}{&counter{r, &c.given}, rc}, nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, bundle.ErrUnreachable }

type counter struct {
	r io.Reader
	n *atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func TestPullResumes(t *testing.T) {
	t.Parallel()
	for _, damage := range []bool{false, true} {
		s := newStore(t)
		src := &cutSource{Artifact: newModel(t, `{}`), broken: true}
		if _, err := s.Pull(t.Context(), src, src.Root(), "x", nil); !errors.Is(err, bundle.ErrUnreachable) {
			t.Fatalf("got %v", err)
		}
		if list, err := s.List(); err != nil || len(list) != 0 {
			t.Fatalf("a cut pull is listed: %v, %v", list, err)
		}
		kept := weightBlob(s, Model{Info: src.Model()}) + partialSuffix
		if info, err := os.Stat(kept); err != nil || info.Size() < weightSize/2 {
			t.Fatalf("kept %v, %v", info, err)
		}
		if damage { // the kept part is hashed, never trusted
			flip(t, kept)
		}
		src.broken = false
		src.given.Store(0)
		m := pull(t, s, src, "x")
		if _, err := s.Materialize(t.Context(), m); err != nil {
			t.Error(err)
		}
		if given := src.given.Load(); !damage && given > weightSize*3/4 {
			t.Errorf("%d bytes were fetched again", given)
		}
		if left, _ := filepath.Glob(filepath.Join(s.dir, "blobs", "sha256", "*.incomplete")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// flip changes the last byte of a file in place.
func flip(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMaterialize(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	a := newModel(t, `{"model_type":"a"}`)
	m := pull(t, s, a, "x")
	dir, err := s.Materialize(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(filepath.Join(dir, "model.safetensors")); err != nil || to != weightBlob(s, m) {
		t.Errorf("weights: %q, %v", to, err)
	}
	info, err := os.Lstat(filepath.Join(dir, "config.json"))
	if err != nil || info.Mode()&^0o044 != 0o400 { // others read it if the umask lets them
		t.Errorf("config.json: %v, %v", info.Mode(), err)
	}
	// Kept while it is right, rebuilt when it is not.
	if again, err := s.Materialize(t.Context(), m); err != nil || again != dir {
		t.Errorf("%q, %v", again, err)
	}
	if now, err := os.Lstat(filepath.Join(dir, "config.json")); err != nil || !os.SameFile(info, now) {
		t.Error("a sound directory was built again")
	}
	stale := filepath.Join(filepath.Dir(dir), stagePrefix+"killed")
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "evil.py"), nil, 0o600), os.Mkdir(stale, 0o755)); err != nil {
		t.Fatal(err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Materialize(done, m); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := s.Materialize(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "evil.py")); err == nil {
		t.Error("a foreign file stayed in the directory")
	}
	if _, err := os.Lstat(stale); err == nil {
		t.Error("the tree of a killed process stayed")
	}
}

// HOSTILE D4: truncated, one bit flipped, zeroed at the same size, gone.
func TestDamagedBlobs(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(string) error{
		"truncated": func(p string) error { return os.Truncate(p, 100) },
		"zeroed":    func(p string) error { return os.WriteFile(p, make([]byte, weightSize+74), 0o600) },
		"gone":      os.Remove,
		"link":      func(p string) error { return errors.Join(os.Rename(p, p+"x"), os.Symlink(p+"x", p)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			a := newModel(t, `{}`)
			m := pull(t, s, a, "x")
			if _, err := s.Materialize(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if err := damage(weightBlob(s, m)); err != nil {
				t.Fatal(err)
			}
			_, err := s.Materialize(t.Context(), m)
			damaged, ok := errors.AsType[*DamagedError](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			if !errors.Is(err, bundle.ErrMismatch) {
				t.Errorf("%v does not wrap ErrMismatch", err)
			}
			for _, part := range []string{"docker.io/ai/x:latest", "model.safetensors", weightBlob(s, m), "metalrun verify --repair"} {
				if !strings.Contains(err.Error()+damaged.Hint(), part) {
					t.Errorf("%q is not in %q", part, err)
				}
			}
			if name == "link" { // refused, not repaired: somebody put it there
				return
			}
			report, err := s.Check(t.Context(), m, false, nil)
			if err != nil || len(report.Damaged) != 1 || report.Files != 4 {
				t.Fatalf("%+v, %v", report, err)
			}
			src := &cutSource{Artifact: a}
			if err := s.Repair(t.Context(), src, report.Damaged, nil); err != nil {
				t.Fatal(err)
			}
			if given := src.given.Load(); given != report.Damaged[0].desc.Size {
				t.Errorf("%d bytes were fetched", given)
			}
			if _, err := s.Materialize(t.Context(), m); err != nil {
				t.Errorf("not mended: %v", err)
			}
		})
	}
}

// One bit, at the same size, with mtime set back.
func TestFlippedBit(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := pull(t, s, newModel(t, `{}`), "x")
	info, err := os.Stat(weightBlob(s, m))
	if err != nil {
		t.Fatal(err)
	}
	flip(t, weightBlob(s, m))
	if err := os.Chtimes(weightBlob(s, m), info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Materialize(t.Context(), m); !errors.Is(err, bundle.ErrMismatch) {
		t.Errorf("got %v", err)
	}
}

func TestMaterializeRefusesCode(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := pull(t, s, newModel(t, `{"model_file":"x.py"}`), "x")
	if _, err := s.Materialize(t.Context(), m); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "model_file") {
		t.Errorf("got %v", err)
	}
	m.Info.Files = append(m.Info.Files, model.File{Path: "x.py"})
	if _, err := s.Materialize(t.Context(), m); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "is code") {
		t.Errorf("got %v", err)
	}
}
