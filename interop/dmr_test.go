// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/model-runner/pkg/distribution/builder"
	"github.com/docker/model-runner/pkg/distribution/distribution"
	"github.com/docker/model-runner/pkg/distribution/registry"
	"github.com/google/go-cmp/cmp"
)

// judgeDMR lets the library inside Docker Model Runner pull our models into a
// store of its own, read the store that metalrun pull wrote, and push from it;
// and has us read what it builds.
func (s *stage) judgeDMR(t *testing.T) {
	t.Parallel()
	t.Run("pulls", func(t *testing.T) {
		t.Parallel()
		s.eachModel(t, func(t *testing.T, m published) {
			t.Helper()
			store := filepath.Join(t.TempDir(), "models")
			c := openDMR(t, store)
			if err := c.PullModel(t.Context(), m.ref, io.Discard); err != nil {
				t.Fatal(err)
			}
			m.readByDMR(t, c)
			s.listed(t, store, m) // and metalrun reads what DMR wrote
			s.removed(t, store, c, m)
		})
	})
	t.Run("reads our store", func(t *testing.T) {
		t.Parallel()
		s.eachModel(t, func(t *testing.T, m published) {
			t.Helper()
			store := filepath.Join(t.TempDir(), "models")
			s.metalrun(t, store, "pull", m.ref)
			c := openDMR(t, store)
			m.readByDMR(t, c)
			s.listed(t, store, m) // with the bundle that DMR made in it
			s.repaired(t, store, c, m)
			s.removed(t, store, c, m, s.pushedByDMR(t, c, m))
		})
	})
	t.Run("pulls beside metalrun", s.pulledBeside)
	t.Run("builds", func(t *testing.T) {
		t.Parallel()
		s.eachModel(t, s.builtByDMR)
	})
}

// pulledBeside lets DMR and metalrun pull into one store at once, DMR taking no
// lock: both models must be in its list.
func (s *stage) pulledBeside(t *testing.T) {
	t.Parallel()
	for range 10 {
		store := filepath.Join(t.TempDir(), "models")
		c := openDMR(t, store)
		theirs := make(chan error)
		go func() { theirs <- c.PullModel(t.Context(), s.models[2].ref, io.Discard) }()
		s.metalrun(t, store, "pull", s.models[0].ref)
		if err := <-theirs; err != nil {
			t.Error(err)
		}
		for _, m := range []published{s.models[0], s.models[2]} {
			if _, err := c.GetModel(m.ref); err != nil {
				t.Errorf("%s is lost: %v", m.ref, err)
			}
		}
	}
}

// pushedByDMR lets DMR push a model from our store; it must stay what it was.
func (s *stage) pushedByDMR(t *testing.T, c *distribution.Client, m published) (tag string) {
	t.Helper()
	tag = s.registry + "/dmr/pushed-" + filepath.Base(m.source) + ":" + m.format
	if err := c.Tag(m.ref, tag); err != nil {
		t.Fatal(err)
	}
	if err := c.PushModel(t.Context(), tag, io.Discard); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "pulled")
	if digest := digestOf(t, s.run(t, s.program("metalpack"), "pull", tag, "-o", dir)); digest != m.digest {
		t.Errorf("DMR pushed %s as %s", m.digest, digest)
	}
	m.same(t, "what DMR pushed from our store", dir)
	return tag
}

// builtByDMR has DMR's builder pack the model's directory in the same format;
// all our programs must read that.
func (s *stage) builtByDMR(t *testing.T, m published) {
	t.Helper()
	format := map[string]builder.BuildFormat{"modelpack": builder.BuildFormatCNCF, "docker": builder.BuildFormatDocker}[m.format]
	b, err := builder.FromDirectory(m.source, builder.WithOutputFormat(format))
	if err != nil {
		t.Fatal(err)
	}
	ref := s.registry + "/dmr/built-" + filepath.Base(m.source) + ":" + m.format
	target, err := plainHTTP().NewTarget(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Build(t.Context(), target, io.Discard); err != nil {
		t.Fatal(err)
	}
	var seen struct {
		Model struct {
			Flavor string `json:"flavor"`
			Format string `json:"format"`
			Files  []any  `json:"files"`
		} `json:"model"`
	}
	if err := json.Unmarshal([]byte(s.run(t, s.program("metalpack"), "--json", "inspect", ref)), &seen); err != nil {
		t.Fatal(err)
	}
	if seen.Model.Flavor != m.format || seen.Model.Format != "safetensors" || len(seen.Model.Files) != len(readDir(t, m.source)) {
		t.Errorf("metalpack inspect sees %+v", seen.Model)
	}
	dir := filepath.Join(t.TempDir(), "pulled")
	s.run(t, s.program("metalpack"), "pull", ref, "-o", dir)
	m.same(t, "what DMR built", dir)
	store := filepath.Join(t.TempDir(), "models")
	s.metalrun(t, store, "pull", ref)
	if out := s.metalrun(t, store, "list"); !strings.Contains(out, "\n  "+ref+"  ") || strings.Contains(out, "cannot be served") {
		t.Errorf("metalrun list: %s", out)
	}
	// And it becomes ours without a directory between.
	s.run(t, s.program("metalpack"), "model", "build", ref, "-o", "oci:"+filepath.Join(t.TempDir(), "ours")+":1", "--format", m.format)
}

// plainHTTP is DMR's client of registries on loopback.
func plainHTTP() *registry.Client { return registry.NewClient(registry.WithPlainHTTP(true)) }

func openDMR(t *testing.T, store string) *distribution.Client {
	t.Helper()
	c, err := distribution.NewClient(
		distribution.WithStoreRootPath(store),
		distribution.WithLogger(slog.New(slog.DiscardHandler)),
		distribution.WithRegistryClient(plainHTTP()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readByDMR wants the model in DMR's list, by name and id, with facts and
// files.
func (want published) readByDMR(t *testing.T, c *distribution.Client) {
	t.Helper()
	models, err := c.ListModels()
	if err != nil {
		t.Fatal(err)
	}
	if len(models) != 1 {
		t.Fatalf("DMR lists %d models", len(models))
	}
	m, err := c.GetModel(want.ref)
	if err != nil {
		t.Fatal(err)
	}
	id, err := m.ID()
	if err != nil {
		t.Fatal(err)
	}
	if id != want.digest {
		t.Errorf("DMR's id is %s, the manifest %s", id, want.digest)
	}
	if diff := cmp.Diff([]string{want.ref}, m.Tags()); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	config, err := m.Config()
	if err != nil {
		t.Fatal(err)
	}
	parameters := map[string]string{"modelpack": "361.1K", "docker": "361.09K"}[want.format]
	said := []string{string(config.GetFormat()), config.GetArchitecture(), config.GetParameters(), config.GetQuantization()}
	if diff := cmp.Diff([]string{"safetensors", "llama", parameters, "4bit-g64"}, said); diff != "" {
		t.Errorf("what DMR says of the model (-want +got):\n%s", diff)
	}
	b, err := c.GetBundle(want.ref)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(b.SafetensorsPath()) != want.weights {
		t.Errorf("DMR would serve %q, the first file of weights is %s", b.SafetensorsPath(), want.weights)
	}
	want.same(t, "DMR's bundle", filepath.Dir(b.SafetensorsPath()))
	t.Logf("DMR: %s, %s", strings.Join(said, " "), m.Tags())
}

// listed wants the model in metalrun's list.
func (s *stage) listed(t *testing.T, store string, m published) {
	t.Helper()
	if out := s.metalrun(t, store, "list"); !strings.Contains(out, "\n  "+m.ref+"  ") || strings.Contains(out, "cannot be served") {
		t.Errorf("metalrun list: %s", out)
	}
}

// repaired damages the weights through the link that DMR made to them, as an
// engine could, and mends them: DMR must be given what is right again.
func (s *stage) repaired(t *testing.T, store string, c *distribution.Client, m published) {
	t.Helper()
	b, err := c.GetBundle(m.ref)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(b.SafetensorsPath(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("damaged"), 50_000)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if out := s.metalrun(t, store, "verify", "--repair", m.ref); !strings.Contains(out, "1 of them had been damaged") {
		t.Errorf("metalrun verify: %s", out)
	}
	m.readByDMR(t, c)
	if out := s.metalrun(t, store, "rm", "--unused"); !strings.Contains(out, "nothing is unused") {
		t.Errorf("metalrun rm: %s", out)
	}
}

// removed takes away the names that DMR gave the model, which DMR then still
// reads, and then the model, of which nothing is left.
func (s *stage) removed(t *testing.T, store string, c *distribution.Client, m published, more ...string) {
	t.Helper()
	if err := c.Tag(m.ref, "ai/other:1"); err != nil {
		t.Fatal(err)
	}
	s.metalrun(t, store, append([]string{"rm", "ai/other:1"}, more...)...)
	m.readByDMR(t, c)
	s.metalrun(t, store, "rm", m.ref)
	models, err := c.ListModels()
	if err != nil || len(models) > 0 {
		t.Errorf("DMR lists %d models, %v", len(models), err)
	}
	for _, kind := range []string{"blobs", "manifests", "bundles"} {
		if left, err := filepath.Glob(filepath.Join(store, kind, "sha256", "*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}
