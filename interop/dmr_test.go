// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/model-runner/pkg/distribution/distribution"
	"github.com/docker/model-runner/pkg/distribution/registry"
	"github.com/google/go-cmp/cmp"
)

// judgeDMR lets the library inside Docker Model Runner pull our model into a
// store of its own, and read the store that metalrun pull wrote.
func (s *stage) judgeDMR(t *testing.T) {
	t.Parallel()
	t.Run("pulls our model", func(t *testing.T) {
		t.Parallel()
		store := filepath.Join(t.TempDir(), "models")
		c := openDMR(t, store)
		if err := c.PullModel(t.Context(), s.modelRef, io.Discard); err != nil {
			t.Fatal(err)
		}
		s.readByDMR(t, c)
		s.listed(t, store) // and metalrun reads what DMR wrote
		s.removed(t, store, c)
	})
	t.Run("reads our store", func(t *testing.T) {
		t.Parallel()
		store := filepath.Join(t.TempDir(), "models")
		s.metalrun(t, store, "pull", s.modelRef)
		c := openDMR(t, store)
		s.readByDMR(t, c)
		s.listed(t, store) // with the bundle that DMR made in it
		s.removed(t, store, c)
	})
}

func openDMR(t *testing.T, store string) *distribution.Client {
	t.Helper()
	c, err := distribution.NewClient(
		distribution.WithStoreRootPath(store),
		distribution.WithLogger(slog.New(slog.DiscardHandler)),
		distribution.WithRegistryClient(registry.NewClient(registry.WithPlainHTTP(true))))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readByDMR wants the model in DMR's list, by name and id, with facts and
// files.
func (s *stage) readByDMR(t *testing.T, c *distribution.Client) {
	t.Helper()
	models, err := c.ListModels()
	if err != nil {
		t.Fatal(err)
	}
	if len(models) != 1 {
		t.Fatalf("DMR lists %d models", len(models))
	}
	m, err := c.GetModel(s.modelRef)
	if err != nil {
		t.Fatal(err)
	}
	id, err := m.ID()
	if err != nil {
		t.Fatal(err)
	}
	if id != s.modelDigest {
		t.Errorf("DMR's id is %s, the manifest %s", id, s.modelDigest)
	}
	if diff := cmp.Diff([]string{s.modelRef}, m.Tags()); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	config, err := m.Config()
	if err != nil {
		t.Fatal(err)
	}
	if config.GetFormat() != "safetensors" || config.GetArchitecture() != "llama" || config.GetParameters() == "" || config.GetQuantization() == "" {
		t.Errorf("DMR reads format %q, architecture %q, parameters %q, quantization %q",
			config.GetFormat(), config.GetArchitecture(), config.GetParameters(), config.GetQuantization())
	}
	b, err := c.GetBundle(s.modelRef)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(b.SafetensorsPath()) != "model.safetensors" {
		t.Errorf("DMR would serve %q", b.SafetensorsPath())
	}
	if diff := cmp.Diff(s.source(t), readDir(t, filepath.Dir(b.SafetensorsPath()))); diff != "" {
		t.Errorf("the bundle differs from the source (-want +got):\n%s", diff)
	}
	t.Logf("DMR: %s %s, %s %s, %s", config.GetFormat(), config.GetArchitecture(), config.GetParameters(), config.GetQuantization(), m.Tags())
}

// listed wants the model in metalrun's list.
func (s *stage) listed(t *testing.T, store string) {
	t.Helper()
	if out := s.metalrun(t, store, "list"); !strings.Contains(out, "\n  "+s.modelRef+"  ") || strings.Contains(out, "cannot be served") {
		t.Errorf("metalrun list: %s", out)
	}
}

// removed takes away a name that DMR gave the model, which DMR then still reads,
// and then the model, of which nothing is left.
func (s *stage) removed(t *testing.T, store string, c *distribution.Client) {
	t.Helper()
	if err := c.Tag(s.modelRef, "ai/other:1"); err != nil {
		t.Fatal(err)
	}
	s.metalrun(t, store, "rm", "ai/other:1")
	s.readByDMR(t, c)
	s.metalrun(t, store, "rm", s.modelRef)
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
