// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"os"
	"os/exec"
	goruntime "runtime"
	"testing"
)

func TestJudges(t *testing.T) {
	t.Parallel()
	s := newStage(t, "mlx-lm", goruntime.GOOS+"/"+goruntime.GOARCH, "internal", "demo", "recipe")
	s.publishEnvironment(t)
	s.publishModels(t)
	t.Run("crane", s.judgeCrane)
	t.Run("skopeo", s.judgeSkopeo)
	t.Run("umoci", s.judgeUmoci)
	t.Run("oras", s.judgeOras)
	t.Run("dmr", s.judgeDMR)
	t.Run("modctl", s.judgeModctl)
	t.Run("modelspec", s.judgeModelSpec)
	t.Run("inputs", s.judgeInputs)
	t.Run("engine", s.judgeEngine)
	t.Run("reproduce", s.judgeReproduce)
}

// TestAcceptance lets the judges of environments look at the whole vllm-metal
// environment: 158 wheels of the index, and stand-ins for the two release
// assets, because release pages are not reachable everywhere.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	if os.Getenv("INTEROP_ACCEPTANCE") == "" {
		t.Skip("make acceptance starts this with INTEROP_ACCEPTANCE=1: it moves 10 GB")
	}
	s := newStage(t, "vllm-metal", "darwin/arm64", "recipes", "testdata", "vllm-metal-standin")
	s.run(t, s.devtool(), "standin", "-o", s.inputs)
	s.publishEnvironment(t)
	t.Run("crane", s.judgeCrane)
	t.Run("skopeo", s.judgeSkopeo)
	t.Run("umoci", s.judgeUmoci)
	t.Run("reproduce", s.judgeReproduce)
}

// absent skips the judge, or fails it where all of them have to sit.
func absent(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("INTEROP_REQUIRE_ALL") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// need skips the judge if the system has no such program.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		absent(t, "%s is not installed (on Debian and Ubuntu: apt-get install %s): nothing was judged", program, program)
	}
}
