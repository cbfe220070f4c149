// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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

// forms makes the tiny model in every one that metalrun pulls.
func (s *stage) forms(t *testing.T) []form {
	t.Helper()
	out := []form{{"registry modelpack", s.models[0].ref}, {"registry docker", s.models[1].ref}}
	for name, ref := range map[string]string{"layout": "oci:" + filepath.Join(s.dir, "laid") + ":1", "archive": "oci-archive:" + filepath.Join(s.dir, "tiny.tar") + ":1"} {
		s.run(t, s.program("metalpack"), "model", "build", s.models[0].source, "-o", ref)
		out = append(out, form{name, ref})
	}
	return append(out, form{"hub", "hf.co/metalpack/tiny"})
}

// judgeEngine installs the environment once. In it Python opens what came back,
// and the engine answers OpenAI's own clients for the model pulled from every
// form, each into a store of its own.
func (s *stage) judgeEngine(t *testing.T) {
	t.Parallel()
	s.run(t, s.program("metalrun"), "install", s.envRef)
	t.Run("load", s.judgeLoad)
	hub := serveHub(t, "metalpack/tiny", s.models[0].source)
	said := ""
	for _, f := range s.forms(t) {
		t.Run(f.name, func(t *testing.T) {
			one := s.with("MODELS_PATH="+filepath.Join(t.TempDir(), "models"), "HF_ENDPOINT="+hub)
			model, _, _ := strings.Cut(one.run(t, s.program("metalrun"), "pull", f.ref), " ")
			base := "http://" + one.serve(t, "metalrun", "serve", "--addr", "127.0.0.1:0") + "/v1"
			r := chatGo(t, base, model)
			check(t, model, r)
			if said == "" {
				check(t, model, one.chatPython(t, base, model))
				said = r.Text
			}
			if r.Text != said { // one seed, one model, temperature 0
				t.Errorf("the model says %q, from the first form it said %q", r.Text, said)
			}
		})
	}
}

// judgeLoad has the safetensors package open every weight, and mlx_lm load and
// run every model, as metalpack pulls them.
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
		Tensors int    `json:"tensors"`
		Text    string `json:"text"`
	}
	if err := json.Unmarshal([]byte(out), &loaded); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(loaded) != len(s.models) {
		t.Fatalf("%d models came back", len(loaded))
	}
	for i, l := range loaded {
		if l.Tensors == 0 || l.Text == "" || l != loaded[0] {
			t.Errorf("%s: %+v, the first is %+v", s.models[i].name(), l, loaded[0])
		}
	}
	t.Logf("safetensors and mlx_lm.load: %d models of %d tensors, each says %q", len(loaded), loaded[0].Tensors, loaded[0].Text)
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
