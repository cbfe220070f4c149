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
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// fakeHub is an origin that counts what is read of it.
type fakeHub struct {
	files map[string]string
	known map[string]string // sha256 it states; absent = not known
	facts Facts
	extra []OriginFile

	mu    sync.Mutex
	bytes map[string]int
}

func (h *fakeHub) List(context.Context) (*Listing, error) {
	l := &Listing{Name: "hf.co/o/n", Facts: h.facts, Files: h.extra}
	for p, data := range h.files {
		l.Files = append(l.Files, OriginFile{Path: p, Size: int64(len(data)), SHA256: h.known[p]})
	}
	return l, nil
}

func (h *fakeHub) Open(_ context.Context, path string, offset int64) (io.ReadCloser, error) {
	data, ok := h.files[path]
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, bundle.ErrNotFound)
	}
	return io.NopCloser(&counted{h, path, strings.NewReader(data[offset:])}), nil
}

type counted struct {
	hub  *fakeHub
	path string
	r    io.Reader
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.hub.mu.Lock()
	c.hub.bytes[c.path] += n
	c.hub.mu.Unlock()
	return n, err
}

// newHub is a sound model whose weights have a digest that is known.
func newHub() *fakeHub {
	w := string(safetensors(weights, 72))
	return &fakeHub{
		files: map[string]string{
			"config.json":           `{"model_type":"llama","quantization":{"bits":4,"group_size":64}}`,
			"tokenizer.json":        `{"a":"` + strings.Repeat("b", 5000) + `"}`,
			"tokenizer_config.json": `{"chat_template":"{{ messages }}"}`,
			"model.safetensors":     w,
			".gitattributes":        "x",
		},
		known: map[string]string{"model.safetensors": digest.FromString(w).Encoded()},
		bytes: map[string]int{},
	}
}

// A file whose digest is known is not hashed beforehand: of the weights the
// header alone is read, of small files nothing twice.
func TestBuildReadsLittle(t *testing.T) {
	t.Parallel()
	hub := newHub()
	hub.facts = Facts{Source: "https://huggingface.co/o/n", Revision: strings.Repeat("c", 40)}
	a, err := Build(t.Context(), hub, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"model.safetensors": 8 + len(weights)}
	for _, p := range []string{"config.json", "tokenizer.json", "tokenizer_config.json"} {
		want[p] = len(hub.files[p])
	}
	if diff := cmp.Diff(want, hub.bytes); diff != "" {
		t.Error(diff)
	}
	if m := a.Model(); m.Facts != hub.facts {
		t.Errorf("%+v", m.Facts)
	}
	// The artifact as an origin gives the same artifact, and nothing is hashed.
	b, err := Build(t.Context(), Stored(a, a.Model()), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a.Root().Digest != b.Root().Digest {
		t.Errorf("%s\n%s", a.manifest, b.manifest)
	}
	if n := hub.bytes["model.safetensors"]; n != 2*(8+len(weights)) {
		t.Errorf("%d bytes of the weights were read", n)
	}
}

func TestBuildFromLyingOrigin(t *testing.T) {
	t.Parallel()
	sum := digest.FromString("other").Encoded()
	tests := []struct {
		name   string
		change func(*fakeHub)
		want   error
	}{
		{"another config than its digest", func(h *fakeHub) { h.known["config.json"] = sum }, bundle.ErrMismatch},
		{"D1: 63 digits", func(h *fakeHub) { h.known["model.safetensors"] = sum[1:] }, bundle.ErrInvalid},
		{"D1: upper case", func(h *fakeHub) { h.known["model.safetensors"] = strings.ToUpper(sum) }, bundle.ErrInvalid},
		{"D1: a path", func(h *fakeHub) { h.known["model.safetensors"] = "../../x" }, bundle.ErrInvalid},
		{"D1: newline at the end", func(h *fakeHub) { h.known["model.safetensors"] = sum + "\n" }, bundle.ErrInvalid},
		{"negative size", func(h *fakeHub) { h.extra = []OriginFile{{Path: "x.json", Size: -1}} }, bundle.ErrInvalid},
		{"a file that is not there", func(h *fakeHub) { h.extra = []OriginFile{{Path: "generation_config.json", Size: 4}} }, bundle.ErrNotFound},
		{"a path that leaves", func(h *fakeHub) { h.extra = []OriginFile{{Path: "../x.json", Size: 4, SHA256: sum}} }, bundle.ErrInvalid},
		{"a source that is none", func(h *fakeHub) { h.facts.Source = "x" }, bundle.ErrInvalid},
		{"longer than its size", func(h *fakeHub) {
			h.extra = []OriginFile{{Path: "generation_config.json", Size: 1}}
			delete(h.files, "config.json")
			h.extra = append(h.extra, OriginFile{Path: "config.json", Size: 1 << 40})
		}, bundle.ErrNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hub := newHub()
			tt.change(hub)
			if _, err := Build(t.Context(), hub, Options{}); !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The header was read before the rest: if it is another by then, the metadata
// would be of another model.
func TestHeaderChangesMeanwhile(t *testing.T) {
	t.Parallel()
	hub := newHub()
	a, err := Build(t.Context(), hub, Options{})
	if err != nil {
		t.Fatal(err)
	}
	hub.files["model.safetensors"] = strings.Replace(hub.files["model.safetensors"], "U32", "I32", 1)
	rc, err := a.Open(t.Context(), a.find("model.safetensors"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, rc); !errors.Is(err, bundle.ErrMismatch) || !strings.Contains(err.Error(), "model.safetensors: changed") {
		t.Errorf("got %v", err)
	}
	delete(hub.known, "model.safetensors")
	lying := &swap{fakeHub: hub}
	if _, err := Build(t.Context(), lying, Options{}); !errors.Is(err, bundle.ErrMismatch) {
		t.Errorf("got %v", err)
	}
}

// swap shows another header each time the weights are opened.
type swap struct {
	*fakeHub
	n int
}

func (s *swap) Open(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if path == "model.safetensors" {
		if s.n++; s.n > 1 {
			return io.NopCloser(strings.NewReader(strings.Replace(s.files[path], "I32", "U32", 1))), nil
		}
	}
	return s.fakeHub.Open(ctx, path, offset)
}

// The bytes are the format: FORMATS of Docker Model Runner, v0.2.
func TestDockerBytes(t *testing.T) {
	t.Parallel()
	a := build(t, writeModel(t, t.TempDir(), map[string]string{"tokenizer_config.json": "", "chat_template.jinja": "<&>", "LICENSE": "do\n"}), Options{Flavor: FlavorDocker})
	var layers, ids []string
	for _, f := range []struct{ path, kind string }{
		{"LICENSE", "license"},
		{"README.md", "model.file"},
		{"chat_template.jinja", "chat.template.jinja"},
		{"config.json", "model.file"},
		{"model.safetensors", "safetensors"},
		{"tokenizer.json", "model.file"},
	} {
		d := a.find(f.path)
		layers = append(layers, fmt.Sprintf(`{"mediaType":"application/vnd.docker.ai.%s","size":%d,"digest":"%s","annotations":{"org.cncf.model.filepath":"%s","org.opencontainers.image.title":"%s"}}`,
			f.kind, d.Size, d.Digest, f.path, f.path))
		ids = append(ids, d.Digest.String())
	}
	config := fmt.Sprintf(`{"config":{"format":"safetensors","quantization":"4bit-g64","parameters":"128.00","architecture":"llama","size":"%d.00B","safetensors":{"tensor_count":"3"},"context_size":512},"descriptor":{},"rootfs":{"type":"rootfs","diff_ids":["%s"]}}`,
		a.find("model.safetensors").Size, strings.Join(ids, `","`))
	if diff := cmp.Diff(config, string(a.config)); diff != "" {
		t.Error(diff)
	}
	want := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.docker.ai.model.config.v0.2+json","size":%d,"digest":"%s"},"layers":[%s],"annotations":{"io.metalpack.model.bits":"4","io.metalpack.model.context":"512","io.metalpack.model.group-size":"64","io.metalpack.model.parameters":"128"}}`,
		len(config), digest.FromString(config), strings.Join(layers, ","))
	if diff := cmp.Diff(want, string(a.manifest)); diff != "" {
		t.Error(diff)
	}
	// Docker Model Runner takes a config with one of these names for ModelPack.
	for _, name := range []string{"paramSize", "createdAt", "modelfs"} {
		if bytes.Contains(a.config, []byte(name)) {
			t.Errorf("the config says %s", name)
		}
	}
	if _, err := a.In("oras"); !errors.Is(err, bundle.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// Names that one of the published schemas of ModelPack refuses are never there.
func TestModelPackNames(t *testing.T) {
	t.Parallel()
	a := build(t, writeModel(t, t.TempDir(), map[string]string{"README.md": "---\nlicense: mit\ndescription: d\n---\n", "chat_template.jinja": "[TOOL_CALLS]"}), Options{Facts: Facts{Source: "hf.co/o/n", Revision: "r"}})
	var c map[string]map[string]any
	if err := json.Unmarshal(a.config, &c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"description": "d", "sourceURL": "https://huggingface.co/o/n", "revision": "r", "licenses": []any{"MIT"}}, c["descriptor"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"toolUsage": true}, c["config"]["capabilities"]); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"datasetsURL", "embedding", "createdAt"} {
		if bytes.Contains(a.config, []byte(name)) {
			t.Errorf("the config says %s", name)
		}
	}
}
