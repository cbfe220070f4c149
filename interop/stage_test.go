// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
	files    []input
	recipe   string // directory
	name     string // of the environment, and its payload root
	platform string // os/arch
	environ  []string

	registry string // host:port
	envRef   string // the environment in the registry, repository:tag
	envDir   string // the same in an OCI layout
	envIndex string // its digest
	gzip     string // digest of its gzip manifest
	zstd     string // digest of its zstd manifest
	layers   int    // of each of them

	models []published // the first is what servers are asked for
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
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", s.devtool(), "./internal/devtool")
	build.Dir = root
	s.output(t, build)
	s.registry = s.serve(t, s.program("metalpack"), "registry", "serve", "--addr", "127.0.0.1:0", "--dir", filepath.Join(dir, "registry"))
	return s
}

// publishEnvironment builds the environment and pushes it. Its layers are made
// now: those of the user's cache may be the work of another metalpack.
func (s *stage) publishEnvironment(t *testing.T) {
	t.Helper()
	s.interpreter(t, s.platform)
	out := s.run(t, s.program("metalpack"), "--json", "fetch", s.recipe, "--platform", s.platform, "--find-links", s.inputs)
	if err := json.Unmarshal([]byte(out), &s.files); err != nil {
		t.Fatal(err)
	}
	s.envDir, s.envIndex = s.build(t, surroundings{name: "here", umask: "0022"})
	s.envRef = s.registry + "/metalpack/" + s.name + ":latest"
	if pushed := digestOf(t, s.run(t, s.program("metalpack"), "push", "oci:"+s.envDir+":latest", s.envRef)); pushed != s.envIndex {
		t.Fatalf("push changed the digest from %s to %s", s.envIndex, pushed)
	}
	s.readIndex(t)
	t.Logf("%s: index %s, gzip manifest %s of %d layers", s.name, s.envIndex, s.gzip, s.layers)
}

// devtool is the repository's maker of inputs.
func (s *stage) devtool() string { return filepath.Join(s.dir, "devtool") }

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
	s.run(t, s.devtool(), "interpreter", "-platform", platform, "-o", archive)
}

// readIndex finds the manifests of the index: gzip, and zstd of as many layers.
func (s *stage) readIndex(t *testing.T) {
	t.Helper()
	type manifest struct {
		Manifests []descriptor `json:"manifests"`
		Layers    []descriptor `json:"layers"`
	}
	index := readJSON[manifest](t, filepath.Join(s.envDir, "blobs"), s.envIndex)
	if len(index.Manifests) != 2 {
		t.Fatalf("the index has %d manifests, want gzip and zstd", len(index.Manifests))
	}
	s.gzip, s.zstd = index.Manifests[0].Digest, index.Manifests[1].Digest
	for codec, digest := range map[string]string{"gzip": s.gzip, "zstd": s.zstd} {
		layers := readJSON[manifest](t, filepath.Join(s.envDir, "blobs"), digest).Layers
		for _, l := range layers {
			if l.MediaType != "application/vnd.oci.image.layer.v1.tar+"+codec {
				t.Fatalf("the %s manifest has a layer of type %s", codec, l.MediaType)
			}
		}
		if s.layers == 0 {
			s.layers = len(layers)
		}
		if len(layers) == 0 || len(layers) != s.layers {
			t.Fatalf("the %s manifest has %d layers, the other %d", codec, len(layers), s.layers)
		}
	}
}

// readJSON reads a file below a directory; a colon in its name, as in a
// digest, divides directory and file.
func readJSON[T any](t *testing.T, dir, name string) (v T) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(name, ":", string(filepath.Separator))))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
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
