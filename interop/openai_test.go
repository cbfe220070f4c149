// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"os/exec"
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

// judgeOpenAI installs the environment and lets OpenAI's own clients talk to
// the engine in it.
func (s *stage) judgeOpenAI(t *testing.T) {
	t.Parallel()
	s.run(t, s.program("metalrun"), "install", s.envRef)
	s.run(t, s.program("metalrun"), "pull", s.modelRef)
	base := "http://" + s.serve(t, "metalrun", "serve", "--addr", "127.0.0.1:0") + "/v1"
	t.Run("go", func(t *testing.T) {
		t.Parallel()
		s.check(t, chatGo(t, base, s.modelRef))
	})
	t.Run("python", func(t *testing.T) {
		t.Parallel()
		s.check(t, s.chatPython(t, base, s.modelRef))
	})
}

func (s *stage) check(t *testing.T, r chatResult) {
	t.Helper()
	switch {
	case len(r.Models) != 1 || r.Models[0] != s.modelRef || r.Model != s.modelRef:
		t.Errorf("models %v, the answer is from %q, asked was %q", r.Models, r.Model, s.modelRef)
	case r.Text == "" || r.Tokens == 0 || r.Tokens > maxTokens || r.Finish != "length" && r.Finish != "stop":
		t.Errorf("whole answer: %+v", r)
	case r.Streamed != r.Text || r.Chunks < 2 || r.StreamTokens != r.Tokens:
		t.Errorf("the streamed answer is not the whole one: %+v", r)
	case r.WrongStatus != 404:
		t.Errorf("a model that is not there: status %d, want 404", r.WrongStatus)
	}
	t.Logf("%d tokens, finish %s, streamed in %d chunks: %q", r.Tokens, r.Finish, r.Chunks, r.Text)
}

// metalrun runs metalrun on another model store.
func (s *stage) metalrun(t *testing.T, store string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.program("metalrun"), args...)
	cmd.Env = []string{"MODELS_PATH=" + store, "METALRUN_HOME=" + strings.TrimSuffix(store, "models") + "home"}
	return s.output(t, cmd)
}
