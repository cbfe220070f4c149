// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package repotest

import (
	"path"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// workflow is what the rules look at.
type workflow struct {
	On          any            `yaml:"on"`
	Permissions map[string]any `yaml:"permissions"`
	Concurrency struct {
		Group  string `yaml:"group"`
		Cancel string `yaml:"cancel-in-progress"`
	} `yaml:"concurrency"`
	Jobs map[string]job `yaml:"jobs"`
}

type job struct {
	Permissions map[string]string `yaml:"permissions"`
	Timeout     int               `yaml:"timeout-minutes"`
	Environment any               `yaml:"environment"`
	Steps       []step            `yaml:"steps"`
}

type step struct {
	Uses string         `yaml:"uses"`
	Run  string         `yaml:"run"`
	With map[string]any `yaml:"with"`
	Env  map[string]any `yaml:"env"`
}

var (
	usesPattern   = regexp.MustCompile(`uses: *(\S+)(.*)`)
	pinnedPattern = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40}$`)
	commentVer    = regexp.MustCompile(`^ # v\d+\.\d+\.\d+$`)
	grantPattern  = regexp.MustCompile(`^ +[a-z-]+: (?:read|write)( # .+)?$`)
)

// maxRunLines is how much shell a workflow may hold; more belongs to the
// Makefile, where .ci/run and a user can run it too.
const maxRunLines = 10

func TestWorkflows(t *testing.T) {
	t.Parallel()
	found := false
	for _, p := range trackedFiles(t) {
		if path.Dir(p) != ".github/workflows" {
			continue
		}
		found = true
		t.Run(path.Base(p), func(t *testing.T) {
			t.Parallel()
			text := read(t, p)
			for _, breach := range checkWorkflow(text) {
				t.Error(breach)
			}
		})
	}
	if !found {
		t.Error("no workflows")
	}
}

// checkWorkflow returns the rules that a workflow breaks.
func checkWorkflow(text string) (breaches []string) {
	say := func(s string) { breaches = append(breaches, s) }
	var w workflow
	if err := yaml.Unmarshal([]byte(text), &w); err != nil {
		return []string{err.Error()}
	}
	if w.Permissions == nil || len(w.Permissions) > 0 {
		say("want permissions: {} at the top; rights are given per job")
	}
	if w.Concurrency.Group == "" || w.Concurrency.Cancel != "" && w.Concurrency.Cancel != "false" && !strings.Contains(w.Concurrency.Cancel, "== 'pull_request'") {
		say("want a concurrency group that cancels on pull requests only")
	}
	if strings.Contains(text, "pull_request_target") {
		say("pull_request_target gives outside code our rights")
	}
	for line := range strings.Lines(text) {
		checkLine(strings.TrimSuffix(line, "\n"), say)
	}
	for name, j := range w.Jobs {
		checkJob(name, j, say)
	}
	return breaches
}

// checkLine looks at what YAML does not keep: comments.
func checkLine(line string, say func(string)) {
	if m := usesPattern.FindStringSubmatch(line); m != nil {
		if !pinnedPattern.MatchString(m[1]) || !commentVer.MatchString(m[2]) {
			say(m[1] + ": want 40 hex digits and # vX.Y.Z")
		}
	}
	if m := grantPattern.FindStringSubmatch(line); m != nil && m[1] == "" {
		say(strings.TrimSpace(line) + ": want a comment that says why")
	}
}

func checkJob(name string, j job, say func(string)) {
	if j.Permissions == nil {
		say(name + ": no permissions")
	}
	if j.Timeout == 0 {
		say(name + ": no timeout-minutes")
	}
	for _, s := range j.Steps {
		if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != false {
			say(name + ": checkout without persist-credentials: false")
		}
		if strings.Contains(s.Run, "${{") {
			say(name + ": an expression inside run; pass it through env")
		}
		if lines := strings.Split(strings.TrimSpace(s.Run), "\n"); len(lines) > 1 && lines[0] != "set -euo pipefail" {
			say(name + ": a script that does not begin with set -euo pipefail")
		} else if len(lines) > maxRunLines {
			say(name + ": a script that belongs to the Makefile")
		}
		for _, v := range s.Env {
			if text, ok := v.(string); ok && strings.Contains(text, "secrets.") && j.Environment == nil {
				say(name + ": a secret in a job without an environment")
			}
		}
	}
}

// Each rule fails when it should.
func TestCheckWorkflow(t *testing.T) {
	t.Parallel()
	bad := `
on: pull_request_target
permissions: {contents: read}
jobs:
  a:
    permissions:
      contents: write
    steps:
      - uses: actions/checkout@v4
      - env: {T: "${{ secrets.T }}"}
        run: |
          echo ${{ github.head_ref }}
          true
  b: {steps: []}
`
	got := strings.Join(checkWorkflow(bad), "\n")
	for _, part := range []string{"permissions: {}", "concurrency", "pull_request_target", "40 hex", "says why", "a: no timeout", "b: no permissions", "persist-credentials", "an expression", "set -euo", "a secret"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in:\n%s", part, got)
		}
	}
}
