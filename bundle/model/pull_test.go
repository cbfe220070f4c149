// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/diskspace"
	"github.com/metalpack/metalpack/internal/filelock"
)

// memory is an artifact in memory, which may break off.
type memory struct {
	blobs map[digest.Digest][]byte
	root  bundle.Descriptor
	cut   map[digest.Digest]int // break off after so many bytes, once
	asked []int64               // offsets that were opened
}

func (m *memory) put(mediaType string, data []byte) bundle.Descriptor {
	d := bundle.DescriptorOf(mediaType, data)
	m.blobs[d.Digest] = data
	return d
}

func (m *memory) Resolve(context.Context, string) (bundle.Descriptor, error) { return m.root, nil }

func (m *memory) Manifest(_ context.Context, d bundle.Descriptor) ([]byte, error) {
	return m.blobs[d.Digest], nil
}

func (m *memory) Referrers(context.Context, bundle.Descriptor) ([]bundle.Descriptor, error) {
	return nil, nil
}

var errCut = fmt.Errorf("connection lost: %w", bundle.ErrUnreachable)

func (m *memory) Open(_ context.Context, d bundle.Descriptor, offset int64) (io.ReadCloser, error) {
	data := m.blobs[d.Digest][offset:]
	m.asked = append(m.asked, offset)
	if n := m.cut[d.Digest]; n > 0 {
		delete(m.cut, d.Digest)
		return io.NopCloser(io.MultiReader(bytes.NewReader(data[:n]), errReader{})), nil
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errCut }

// artifact makes one from layers.
func artifact(t *testing.T, layers ...bundle.Descriptor) *memory {
	t.Helper()
	m := &memory{blobs: map[digest.Digest][]byte{}, cut: map[digest.Digest]int{}}
	w := wireManifest{SchemaVersion: 2, MediaType: bundle.MediaTypeManifest, ArtifactType: ArtifactTypeModelPack}
	c := m.put(ConfigTypeModelPack, []byte(`{}`))
	w.Config = wireDescriptor{c.MediaType, c.Size, c.Digest, nil}
	for _, l := range layers {
		d := m.put(l.MediaType, l.Data)
		d.Size = max(d.Size, l.Size) // what is said of it
		w.Layers = append(w.Layers, wireDescriptor{d.MediaType, d.Size, d.Digest, l.Annotations})
	}
	m.root = m.put(bundle.MediaTypeManifest, marshal(t, w))
	return m
}

func raw(path, data string) bundle.Descriptor {
	return bundle.Descriptor{MediaType: layerConfig, Data: []byte(data), Annotations: map[string]string{bundle.AnnotationFilepath: path}}
}

// tree lists the files below a directory with their content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(disk string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(disk)
		rel, _ := filepath.Rel(dir, disk)
		out[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A pull that broke off goes on at the byte where it stopped, in a directory
// that is new and in one that was there.
func TestPullResumes(t *testing.T) {
	t.Parallel()
	for _, exists := range []bool{false, true} {
		m := artifact(t, raw("sub/big.json", strings.Repeat("x", 1000)), raw("b.json", "b"))
		big := digest.FromString(strings.Repeat("x", 1000))
		dir := filepath.Join(t.TempDir(), "out")
		stage := dir + partial
		if exists {
			stage = filepath.Join(dir, partial)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		m.cut[big] = 700
		var notes []string
		o := PullOptions{Parallel: 1, Events: func(e bundle.Event) {
			if e.Kind == bundle.EventNote {
				notes = append(notes, e.Reason)
			}
		}}
		if err := Pull(t.Context(), m, m.root, dir, o); !errors.Is(err, bundle.ErrUnreachable) {
			t.Fatalf("got %v", err)
		}
		if len(notes) != 1 || !strings.Contains(notes[0], stage) {
			t.Errorf("notes %q", notes)
		}
		if err := os.WriteFile(filepath.Join(stage, "foreign"), nil, 0o600); err != nil { // of another model
			t.Fatal(err)
		}
		m.asked = nil
		for range 2 { // the second time everything is there
			if err := Pull(t.Context(), m, m.root, dir, o); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]int64{0, 700, 0, 0}, m.asked); diff != "" { // config, big, b, config
			t.Error(diff)
		}
		if diff := cmp.Diff(map[string]string{"sub/big.json": strings.Repeat("x", 1000), "b.json": "b"}, tree(t, filepath.Dir(dir)+"/out")); diff != "" {
			t.Error(diff)
		}
		if _, err := os.Lstat(stage); !errors.Is(err, fs.ErrNotExist) {
			t.Error("staging is left behind")
		}
	}
}

func TestPullTwoAtOnce(t *testing.T) {
	t.Parallel()
	m := artifact(t, raw("a.json", "a"))
	dir := filepath.Join(t.TempDir(), "out")
	if err := os.Mkdir(dir+partial, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := filelock.Try(dir+partial, os.O_RDONLY)
	if err != nil || unlock == nil {
		t.Fatal(err)
	}
	if err := Pull(t.Context(), m, m.root, dir, PullOptions{}); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "another pull") {
		t.Errorf("got %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if err := Pull(t.Context(), m, m.root, dir, PullOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Staging that is somebody's link is never followed.
func TestPullStagingIsALink(t *testing.T) {
	t.Parallel()
	m := artifact(t, raw("a.json", "a"))
	base := t.TempDir()
	outside := filepath.Join(base, "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "canary"), []byte("alive"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "out")
	if err := os.Symlink(outside, dir+partial); err != nil {
		t.Fatal(err)
	}
	if err := Pull(t.Context(), m, m.root, dir, PullOptions{}); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(map[string]string{"canary": "alive"}, tree(t, outside)); diff != "" {
		t.Error(diff)
	}
}

// D2: the right prefix and then garbage, or a kept part that was altered.
func TestPullOfDamagedPart(t *testing.T) {
	t.Parallel()
	m := artifact(t, raw("a.json", "0123456789"))
	dir := filepath.Join(t.TempDir(), "out")
	for _, kept := range []string{"01x", "0123456x89", "0123456789 and more"} {
		if err := os.MkdirAll(dir+partial, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir+partial, "a.json"), []byte(kept), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Pull(t.Context(), m, m.root, dir, PullOptions{}); err != nil {
			t.Fatalf("%q: %v", kept, err)
		}
		if diff := cmp.Diff(map[string]string{"a.json": "0123456789"}, tree(t, dir)); diff != "" {
			t.Error(diff)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// The directory may be a link to another disk. One that leads to nothing is told
// before anything is fetched.
func TestPullThroughALink(t *testing.T) {
	t.Parallel()
	m := artifact(t, raw("a.json", "a"))
	base := t.TempDir()
	disk, link := filepath.Join(base, "disk"), filepath.Join(base, "link")
	if err := os.Symlink("disk", link); err != nil {
		t.Fatal(err)
	}
	m.asked = nil
	if err := Pull(t.Context(), m, m.root, link, PullOptions{}); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "leads to nothing") {
		t.Errorf("got %v", err)
	}
	if len(m.asked) > 1 { // the config alone
		t.Errorf("asked %v", m.asked)
	}
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Pull(t.Context(), m, m.root, link, PullOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]string{"a.json": "a"}, tree(t, disk)); diff != "" {
		t.Error(diff)
	}
	if to, err := os.Readlink(link); err != nil || to != "disk" {
		t.Errorf("the link: %q, %v", to, err)
	}
}

// What there is no room for is not begun.
func TestPullWithoutRoom(t *testing.T) {
	t.Parallel()
	large := raw("model.safetensors", "x")
	large.Size = bundle.MaxBlob
	m := artifact(t, large, raw("a.json", "a"))
	base := t.TempDir()
	err := Pull(t.Context(), m, m.root, filepath.Join(base, "out"), PullOptions{})
	full, ok := errors.AsType[*diskspace.Error](err)
	if !ok || full.Need != bundle.MaxBlob+1 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if len(m.asked) > 1 { // the config alone
		t.Errorf("asked %v", m.asked)
	}
	if diff := cmp.Diff(map[string]string{}, tree(t, base)); diff != "" {
		t.Error(diff)
	}
}

func TestPullIntoWhatIsThere(t *testing.T) {
	t.Parallel()
	m := artifact(t, raw("a.json", "aa"), raw("b.json", "bb"))
	for name, tt := range map[string]struct {
		file, data string
		include    []string
		want       string // part of the error
	}{
		"one of its files": {"a.json", "aa", nil, ""},
		"altered":          {"a.json", "xx", nil, "a.json is not the model's"},
		"another size":     {"a.json", "aaa", nil, "not empty (a.json)"},
		"foreign":          {"notes", "aa", nil, "not empty (notes)"},
		"not included":     {"a.json", "aa", []string{"b*"}, "not empty (a.json)"},
		"nothing included": {"", "", []string{"*.safetensors"}, "no file of the model matches"},
		"bad pattern":      {"", "", []string{"["}, "pattern"},
	} {
		dir := t.TempDir()
		before := map[string]string{}
		if tt.file != "" {
			before[tt.file] = tt.data
			if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := Pull(t.Context(), m, m.root, dir, PullOptions{Include: tt.include})
		after := map[string]string{"a.json": "aa", "b.json": "bb"}
		if tt.want != "" {
			after = before
			if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", name, err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(after, tree(t, dir)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	only := filepath.Join(t.TempDir(), "only")
	if err := Pull(t.Context(), m, m.root, only, PullOptions{Include: []string{"a*"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a.json": "aa"}, tree(t, only)); diff != "" {
		t.Error(diff)
	}
}

func (m *memory) model(t *testing.T) *Model {
	t.Helper()
	got, _, err := Read(t.Context(), m, m.root)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
