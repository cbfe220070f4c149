// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	prompt    = "hello"
	maxTokens = 16
)

// chatResult is what a client got from one endpoint. The weights are random,
// so no text is right, but at temperature 0 it is the same each time.
type chatResult struct {
	Models       []string `json:"models"`
	Text         string   `json:"text"`
	Finish       string   `json:"finish"`
	Tokens       int64    `json:"tokens"`
	Model        string   `json:"model"`
	Streamed     string   `json:"streamed"`
	Chunks       int      `json:"chunks"`
	StreamTokens int64    `json:"streamTokens"`
	WrongStatus  int      `json:"wrongStatus"` // for a model that is not there
}

// form is one way in which a model reaches the shared store.
type form struct{ name, ref string }

// byDMR is the form that Docker Model Runner pulls, and no program of ours.
const byDMR = "pulled by DMR"

// forms makes the tiny model in every one that metalrun pulls, or finds.
func (s *stage) forms(t *testing.T) []form {
	t.Helper()
	out := []form{{"registry modelpack", s.models[0].ref}, {"registry docker", s.models[1].ref}, {byDMR, s.models[0].ref}}
	for name, ref := range map[string]string{"layout": "oci:" + filepath.Join(s.dir, "laid") + ":1", "archive": "oci-archive:" + filepath.Join(s.dir, "tiny.tar") + ":1"} {
		s.run(t, s.program("metalpack"), "model", "build", s.models[0].source, "-o", ref)
		out = append(out, form{name, ref})
	}
	return append(out, form{"hub", "hf.co/metalpack/tiny"})
}

// judgeEngine installs the environment once. In it Python opens what came back,
// and the engine answers OpenAI's own clients for the model in every form, each
// in a store of its own.
func (s *stage) judgeEngine(t *testing.T) {
	t.Parallel()
	s.run(t, s.program("metalrun"), "install", s.envRef)
	t.Run("load", s.judgeLoad)
	hub := "http://" + s.serve(t, s.devtool(), "hub", "-model", s.models[0].source, "-name", "metalpack/tiny")
	said := ""
	for _, f := range s.forms(t) {
		t.Run(f.name, func(t *testing.T) {
			store, model := filepath.Join(t.TempDir(), "models"), f.ref
			one := s.with("MODELS_PATH="+store, "HF_ENDPOINT="+hub)
			if f.name != byDMR {
				model, _, _ = strings.Cut(one.run(t, s.program("metalrun"), "pull", f.ref), " ")
			} else if err := openDMR(t, store).PullModel(t.Context(), f.ref, io.Discard); err != nil {
				t.Fatal(err)
			}
			base := "http://" + one.serve(t, s.program("metalrun"), "serve", "--addr", "127.0.0.1:0") + "/v1"
			r := chatGo(t, base, model)
			check(t, model, r)
			if said == "" {
				said = r.Text
				t.Run("python", func(t *testing.T) {
					p := one.chatPython(t, base, model)
					check(t, model, p)
					sameText(t, p.Text, said)
				})
			}
			sameText(t, r.Text, said)
		})
	}
}

// sameText holds what the model says against what it said first: one seed, one
// model, temperature 0.
func sameText(t *testing.T, got, said string) {
	t.Helper()
	if got != said {
		t.Errorf("the model says %q, at first it said %q", got, said)
	}
}

// judgeLoad has the safetensors package open every weight, and mlx_lm load and
// run every model, as metalpack pulls them, and compares what mlx_lm finds in
// them with what their manifests say.
func (s *stage) judgeLoad(t *testing.T) {
	script := []string{"-I", "-B", filepath.Join("testdata", "load.py")}
	for _, m := range s.models {
		dir := filepath.Join(t.TempDir(), m.name())
		s.run(t, s.program("metalpack"), "pull", m.ref, "-o", dir)
		script = append(script, dir)
	}
	python := filepath.Join(s.dir, "home", s.name, "bin", "python3")
	out := s.with("HF_HUB_OFFLINE=1", "MLX_DISABLE_COMPILE=1").run(t, python, script...)
	var loaded []struct {
		Tensors int               `json:"tensors"`
		Text    string            `json:"text"`
		Facts   map[string]string `json:"facts"`
	}
	if err := json.Unmarshal([]byte(out), &loaded); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(loaded) != len(s.models) {
		t.Fatalf("%d models came back", len(loaded))
	}
	for i, l := range loaded {
		if diff := cmp.Diff(loaded[0], l); l.Tensors == 0 || l.Text == "" || diff != "" {
			t.Errorf("%s: %+v (-first +this):\n%s", s.models[i].name(), l, diff)
		}
		said := s.annotations(t, s.models[i])
		for fact, want := range l.Facts {
			if got := said["io.metalpack.model."+fact]; got != want {
				t.Errorf("%s: the manifest says %s %q, mlx_lm %q", s.models[i].name(), fact, got, want)
			}
		}
	}
	t.Logf("safetensors and mlx_lm.load: %d models of %d tensors, each says %q; facts %v", len(loaded), loaded[0].Tensors, loaded[0].Text, loaded[0].Facts)
}

func check(t *testing.T, model string, r chatResult) {
	t.Helper()
	switch {
	case len(r.Models) != 1 || r.Models[0] != model || r.Model != model:
		t.Errorf("models %v, the answer is from %q, asked was %q", r.Models, r.Model, model)
	case r.Text == "" || r.Tokens == 0 || r.Tokens > maxTokens || r.Finish != "length" && r.Finish != "stop":
		t.Errorf("whole answer: %+v", r)
	case r.Streamed != r.Text || r.Chunks < 2 || r.StreamTokens != r.Tokens:
		t.Errorf("the streamed answer is not the whole one: %+v", r)
	case r.WrongStatus != 404:
		t.Errorf("a model that is not there: status %d, want 404", r.WrongStatus)
	}
	t.Logf("%d tokens, finish %s, streamed in %d chunks: %q", r.Tokens, r.Finish, r.Chunks, r.Text)
}

// with is the stage in another environment of the process.
func (s *stage) with(environ ...string) *stage {
	c := *s
	c.environ = append(slices.Clip(s.environ), environ...)
	return &c
}

// metalrun runs metalrun on another model store.
func (s *stage) metalrun(t *testing.T, store string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.program("metalrun"), args...)
	cmd.Env = []string{"MODELS_PATH=" + store, "METALRUN_HOME=" + strings.TrimSuffix(store, "models") + "home"}
	return s.output(t, cmd)
}
