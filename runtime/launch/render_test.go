// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

func TestArgv(t *testing.T) {
	t.Parallel()
	cfg := Config{ModelDir: "/m", Names: []string{"a", "b"}, Profile: bundle.Profile{
		Module: "vllm", Args: []string{"--model={model.dir}", "--port", "{port}", `{"a": 1}`, "--names", "{model.names}"},
	}}
	got, err := cfg.argv("127.0.0.1", 81)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"-I", "-B", "-m", "vllm", "--model=/m", "--port", "81", `{"a": 1}`, "--names", "a", "b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	cfg.Profile.Args = []string{"--x={model.path}"}
	if _, err := cfg.argv("", 0); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), "{model.path}") {
		t.Errorf("got %v", err)
	}
}

// TestEnviron: nothing of this process's environment gets through.
func TestEnviron(t *testing.T) {
	t.Parallel()
	private := t.TempDir()
	cfg := Config{ModelDir: "/m", Profile: bundle.Profile{Env: map[string]string{"MODEL": "{model.dir}", "PATH": ""}, Scratch: []string{"HF_HUB_CACHE"}}}
	got, err := cfg.environ(private, "h", 1)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"HF_HUB_CACHE": filepath.Join(private, "hf_hub_cache"), "HOME": filepath.Join(private, "home"), "TMPDIR": filepath.Join(private, "tmpdir"),
		"MODEL": "/m", "PATH": searchPath, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1",
	}
	for _, pair := range got {
		name, value, _ := strings.Cut(pair, "=")
		if name != "LANG" && want[name] != value {
			t.Errorf("%s: want %q", pair, want[name])
		}
		delete(want, name)
	}
	if len(want) != 0 {
		t.Errorf("missing: %v", want)
	}
	if info, err := os.Stat(filepath.Join(private, "hf_hub_cache")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("scratch directory: %v, %v", info, err)
	}
}

func TestTraceback(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ log, want string }{
		"plain": {
			"warning\n" + tracebackMark + "\n  File \"a\"\n    x()\nValueError: no\nTraceback (most recent call last):\n  File \"b\"\nOther: b\n",
			tracebackMark + "\n  File \"a\"\n    x()\nValueError: no",
		},
		"prefix with a running clock": {
			"E 10:59 " + tracebackMark + "\nI 10:59 other\nE 11:00   File \"a\"\nE 11:00 KeyError: 1\n",
			tracebackMark + "\n  File \"a\"\nKeyError: 1",
		},
		"cut off": {tracebackMark + "\n  File \"a\"\n", tracebackMark + "\n  File \"a\""},
		"none":    {"INFO all is well\n", ""},
	} {
		var tb traceback
		for line := range strings.Lines(tt.log) {
			tb.add(strings.TrimSuffix(line, "\n"))
		}
		if diff := cmp.Diff(tt.want, strings.Join(tb.lines, "\n")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
