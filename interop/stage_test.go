// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// digestOf cuts the digest off a reference that one of our programs printed.
func digestOf(t *testing.T, ref string) string {
	t.Helper()
	_, digest, ok := strings.Cut(strings.TrimSpace(ref), "@")
	if !ok {
		t.Fatalf("%q has no digest", ref)
	}
	return digest
}

// stage is what the judges look at.
type stage struct {
	root     string // of the repository
	dir      string // temporary
	inputs   string // directory with the interpreter archive
	recipe   string // directory
	name     string // of the environment, and its payload root
	platform string // os/arch
	environ  []string

	registry string // host:port
	envRef   string // the environment in the registry, repository:tag
	envDir   string // the same in an OCI layout, tag latest
	envIndex string // its digest
	gzip     string // digest of its gzip manifest
	layers   int    // of that manifest

	models []published // the first is what servers are asked for
}

// published is a model in the registry.
type published struct {
	format string // modelpack or docker
	source string // directory
	ref    string // repository:tag
	digest string // of its manifest
}

// descriptor is what we need of an OCI descriptor.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
}

// newStage starts a registry for an environment of a recipe in the repository.
func newStage(t *testing.T, name, platform string, recipe ...string) *stage {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &stage{
		root: root, dir: dir, name: name, platform: platform,
		inputs: filepath.Join(root, "demo", "inputs"),
		recipe: filepath.Join(append([]string{root}, recipe...)...),
		environ: append(os.Environ(), "PATH="+filepath.Join(root, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"),
			"METALRUN_HOME="+filepath.Join(dir, "home"), "MODELS_PATH="+filepath.Join(dir, "models"), "DOCKER_CONFIG="+filepath.Join(dir, "docker")),
		envDir: filepath.Join(dir, "environment"),
	}
	s.registry = s.serve(t, "metalpack", "registry", "serve", "--addr", "127.0.0.1:0", "--dir", filepath.Join(dir, "registry"))
	return s
}

// publishEnvironment builds the environment and pushes it.
func (s *stage) publishEnvironment(t *testing.T) {
	t.Helper()
	s.interpreter(t, s.platform)
	s.envIndex = digestOf(t, s.run(t, s.program("metalpack"), "build", s.recipe,
		"--platform", s.platform, "--find-links", s.inputs, "-o", "oci:"+s.envDir+":latest"))
	s.envRef = s.registry + "/metalpack/" + s.name + ":latest"
	if pushed := digestOf(t, s.run(t, s.program("metalpack"), "push", "oci:"+s.envDir+":latest", s.envRef)); pushed != s.envIndex {
		t.Fatalf("push changed the digest from %s to %s", s.envIndex, pushed)
	}
	s.gzip, s.layers = s.gzipManifest(t)
	t.Logf("%s: index %s, gzip manifest %s of %d layers", s.name, s.envIndex, s.gzip, s.layers)
}

// publishModels writes the tiny model, and one with directories in it, and
// builds both into the registry, in both formats.
func (s *stage) publishModels(t *testing.T) {
	t.Helper()
	for _, name := range []string{"tiny", "nested"} {
		source := filepath.Join(s.dir, name)
		s.devtool(t, "tinymodel", "-o", source)
		if name == "nested" {
			writeFile(t, filepath.Join(source, "extra", "deep", "notes.json"), `{"deep":true}`)
			writeFile(t, filepath.Join(source, "chat_template.jinja"), "{% for tool in tools %}<tool_call>{{ tool }}</tool_call>{% endfor %}")
		}
		ref := s.registry + "/ai/" + name + ":latest"
		out := s.run(t, s.program("metalpack"), "model", "build", source, "-o", "docker://"+ref, "--format", "both",
			"--source", "https://huggingface.co/metalpack/"+name, "--license", "Apache-2.0")
		modelpack, docker, _ := strings.Cut(out, "\n")
		s.models = append(s.models, published{"modelpack", source, ref, digestOf(t, modelpack)}, published{"docker", source, ref + "-docker", digestOf(t, docker)})
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// name tells a model from the others in the names of tests.
func (m published) name() string { return filepath.Base(m.source) + " " + m.format }

// eachModel lets a judge look at every model.
func (s *stage) eachModel(t *testing.T, judge func(*testing.T, published)) {
	t.Helper()
	for _, m := range s.models {
		t.Run(m.name(), func(t *testing.T) {
			t.Parallel()
			judge(t, m)
		})
	}
}

// same wants a directory to hold the model's files, with their bytes, and no
// other.
func (m published) same(t *testing.T, who, dir string) {
	t.Helper()
	want := readDir(t, m.source)
	if diff := cmp.Diff(want, readDir(t, dir)); diff != "" {
		t.Errorf("%s: %s differs from the source (-want +got):\n%s", m.name(), who, diff)
		return
	}
	t.Logf("%s: %s: %d files have the source's bytes", m.name(), who, len(want))
}

// devtool runs the repository's maker of inputs.
func (s *stage) devtool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"run", "./internal/devtool"}, args...)...)
	cmd.Dir = s.root
	s.output(t, cmd)
}

// interpreter makes the interpreter archive of a platform, unless it is there.
func (s *stage) interpreter(t *testing.T, platform string) {
	t.Helper()
	archive := filepath.Join(s.inputs, "cpython-3.12.3-"+strings.ReplaceAll(platform, "/", "-")+".tar")
	if _, err := os.Stat(archive); err == nil {
		return
	}
	if err := os.MkdirAll(s.inputs, 0o755); err != nil {
		t.Fatal(err)
	}
	s.devtool(t, "interpreter", "-platform", platform, "-o", archive)
}

// gzipManifest returns the digest of the index's first manifest, which is
// gzip, and the number of its layers.
func (s *stage) gzipManifest(t *testing.T) (string, int) {
	t.Helper()
	type manifest struct {
		Manifests []descriptor `json:"manifests"`
		Layers    []descriptor `json:"layers"`
	}
	blob := func(digest string) (m manifest) {
		data, err := os.ReadFile(filepath.Join(s.envDir, "blobs", strings.ReplaceAll(digest, ":", string(filepath.Separator))))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	index := blob(s.envIndex)
	if len(index.Manifests) != 2 {
		t.Fatalf("the index has %d manifests, want gzip and zstd", len(index.Manifests))
	}
	digest := index.Manifests[0].Digest
	layers := blob(digest).Layers
	for _, l := range layers {
		if !strings.HasSuffix(l.MediaType, "+gzip") {
			t.Fatalf("the first manifest has a layer of type %s", l.MediaType)
		}
	}
	return digest, len(layers)
}

// repository cuts the tag off a reference.
func repository(ref string) string { return ref[:strings.LastIndex(ref, ":")] }

// program is one of ours, built by make build.
func (s *stage) program(name string) string { return filepath.Join(s.root, "bin", name) }

// run runs a program and returns its stdout.
func (s *stage) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	return s.output(t, exec.CommandContext(t.Context(), name, args...))
}

// tool runs a program of this module's go.mod.
func (s *stage) tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	return s.run(t, "go", append([]string{"tool", name}, args...)...)
}

func (s *stage) output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(slices.Clip(s.environ), cmd.Env...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String()
}
