// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle/modelstore"
	"github.com/metalpack/metalpack/internal/cli"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/hubtest"
	"github.com/metalpack/metalpack/internal/regtest"
	"github.com/metalpack/metalpack/internal/runcli"
	"github.com/metalpack/metalpack/internal/tinymodel"
)

// routes are the places between which models move, and one model at each of
// those that can be read, in both formats.
type routes struct {
	work   string
	env    map[string]string
	dir    string            // the model itself
	want   map[string]string // sha256 of its files by path
	ids    map[string]string // digest by format
	facts  []string          // flags that say of the directory what the hub knows
	source map[string]string // reference by place, a space and format
}

var (
	formats = []string{"modelpack", "docker"}
	stored  = []string{"registry", "layout", "archive"} // where artifacts lie
)

// TestRoutes takes a model from every place to every other, in both formats and
// from each format into the other: its files keep their bytes, and its manifest
// the digest that the directory gives.
func TestRoutes(t *testing.T) {
	t.Parallel()
	r := newRoutes(t)
	for _, place := range append([]string{"directory", "hub"}, stored...) {
		for _, written := range formats {
			for _, dest := range append([]string{"directory", "store"}, stored...) {
				for _, format := range formats {
					if written != format && (!slices.Contains(stored, place) || !slices.Contains(stored, dest)) {
						continue // there is no format yet, or it is taken as it is
					}
					t.Run(strings.Join([]string{place, written, dest, format}, " "), func(t *testing.T) {
						t.Parallel()
						r.move(t, place, written, dest, format)
					})
				}
			}
		}
	}
}

// newRoutes makes the model and puts it wherever models are read from.
func newRoutes(t *testing.T) *routes {
	t.Helper()
	h, registry := hubtest.New(t), regtest.New(t)
	work := t.TempDir()
	r := &routes{
		work: work, dir: filepath.Join(work, "tiny"), ids: map[string]string{},
		env: map[string]string{"HF_ENDPOINT": h.Endpoint, "HOME": work, "XDG_CACHE_HOME": filepath.Join(work, "cache")},
	}
	if err := tinymodel.Write(r.dir); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"LICENSE": "do what you like\n", "extra/notes.json": `{"deep":true}`,
		"chat_template.jinja": "{% for tool in tools %}<tool_call>{{ tool }}</tool_call>{% endfor %}",
	} {
		name = filepath.Join(r.dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	repo := hubtest.Repo{Name: "Org/Tiny"}
	r.want = sums(t, r.dir)
	for path := range r.want {
		data, err := os.ReadFile(filepath.Join(r.dir, filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		repo.Files = append(repo.Files, hubtest.File{Path: path, Data: data, LFS: strings.HasSuffix(path, ".safetensors")})
	}
	r.facts = []string{"--source", h.Endpoint + "/Org/Tiny", "--revision", h.Add(t, repo)}
	r.source = map[string]string{}
	for _, format := range formats {
		r.source["directory "+format], r.source["hub "+format] = r.dir, "hf.co/Org/Tiny"
		for place, ref := range map[string]string{
			"registry": "docker://" + registry + "/ai/tiny:" + format,
			"layout":   "oci:" + filepath.Join(work, "layout") + ":" + format,
			"archive":  "oci-archive:" + filepath.Join(work, format+".tar") + ":tiny",
		} {
			r.source[place+" "+format] = ref
			r.ids[format] = r.pack(t, append([]string{"model", "build", r.dir, "-o", ref, "--format", format}, r.facts...)...)
		}
	}
	return r
}

// move takes the model that place has in one format to dest in another, and
// looks at what arrived.
func (r *routes) move(t *testing.T, place, written, dest, format string) {
	t.Helper()
	source, got := r.source[place+" "+written], filepath.Join(t.TempDir(), "got")
	switch {
	case dest == "store":
		got = r.store(t, source, place, format)
	case dest == "directory" && place != "directory":
		r.pack(t, "pull", source, "-o", got)
	default:
		ref := "oci:" + got + ".oci"
		switch dest {
		case "registry":
			ref = strings.TrimSuffix(r.source["registry "+format], format) + strings.Join([]string{place, written, format}, "-")
		case "archive":
			ref = "oci-archive:" + got + ".tar:x"
		}
		args := []string{"model", "build", source, "-o", ref, "--format", format}
		if place == "directory" {
			args = append(args, r.facts...)
		}
		if id := r.pack(t, args...); id != r.ids[format] {
			t.Errorf("the digest is %s, the directory gives %s", id, r.ids[format])
		}
		r.pack(t, "pull", ref, "-o", got)
	}
	if diff := cmp.Diff(r.want, sums(t, got)); diff != "" {
		t.Errorf("the files differ (-want +got):\n%s", diff)
	}
}

// store pulls into a model store of its own and returns the directory that an
// engine would be started on.
func (r *routes) store(t *testing.T, source, place, format string) string {
	t.Helper()
	home, dir := t.TempDir(), filepath.Join(t.TempDir(), "models")
	if place == "directory" {
		source = r.source["layout "+format] // a directory is packed first
	}
	out := r.call(t, runcli.Main, map[string]string{"METALRUN_HOME": home, "MODELS_PATH": dir}, "pull", source)
	name, id, _ := strings.Cut(strings.TrimSpace(out), "  ")
	want := r.ids[format]
	if place == "hub" {
		want = r.ids["modelpack"]
	}
	if id != want {
		t.Errorf("the store's id is %s, want %s", id, want)
	}
	s, err := modelstore.Open(dir, filepath.Join(home, "state"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := s.Materialize(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// pack runs metalpack and returns the digest that it prints.
func (r *routes) pack(t *testing.T, args ...string) string {
	t.Helper()
	_, digest, _ := strings.Cut(strings.TrimSpace(r.call(t, cli.Main, nil, args...)), "@")
	return digest
}

// call runs a program in this process and returns its stdout.
func (r *routes) call(t *testing.T, program func(context.Context, *edge.Env) int, extra map[string]string, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := program(t.Context(), &edge.Env{
		Args: args, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr,
		Getenv: func(key string) string {
			if v, ok := extra[key]; ok {
				return v
			}
			return r.env[key]
		},
	})
	if code != edge.ExitOK {
		t.Fatalf("%s: exit code %d: %s", strings.Join(args, " "), code, stderr.Bytes())
	}
	return stdout.String()
}

// sums are the sha256 of the files below a directory, by path.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name) // links are what an engine follows
		rel, _ := filepath.Rel(dir, name)
		out[filepath.ToSlash(rel)] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
