// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// chatPython talks through OpenAI's Python client, in a venv of its own.
func (s *stage) chatPython(t *testing.T, base, model string) chatResult {
	t.Helper()
	venv := filepath.Join(t.TempDir(), "venv")
	python := filepath.Join(venv, "bin", "python")
	for _, args := range [][]string{
		{"python3", "-m", "venv", venv},
		{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", filepath.Join("testdata", "requirements.txt")},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			absent(t, "the openai package cannot be installed: %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	out := s.run(t, python, filepath.Join("testdata", "chat.py"), base, model, prompt, strconv.Itoa(maxTokens))
	var r chatResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}
