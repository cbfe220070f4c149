// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package launchtest is an engine for tests: the test's own binary, standing
// where an installed version has its interpreter. It behaves like mlx_lm
// server, and fails in the ways in which real engines were seen to fail.
//
// A package calls [Main] first in its TestMain, makes a version with
// [Version] and starts it with [Profile].
package launchtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metalpack/metalpack/bundle"
)

// modeVariable tells the binary that it is an engine, and which.
const modeVariable = "METALPACK_TEST_ENGINE"

// The ways of the engine.
const (
	Sound    = "sound"    // serves, and has a child that listens at the port in its log
	Dies     = "dies"     // a traceback of a child, one of its own, exit 1
	Killed   = "killed"   // by a signal
	Half     = "half"     // a traceback, lives on, health 503 (mlx_lm without its model)
	Silent   = "silent"   // a traceback, lives on, serves nothing
	Never    = "never"    // health is never 200
	Refuses  = "refuses"  // health 200, every request 400
	Stubborn = "stubborn" // serves, ignores TERM
	helper   = "helper"   // the child of Sound
)

// Main runs the engine and ends the process if this process is one.
func Main() {
	mode := os.Getenv(modeVariable)
	if mode == "" {
		return
	}
	if err := run(mode); err != nil {
		fmt.Fprintln(os.Stderr, err) //nolint:forbidigo // this is a program
		os.Exit(1)                   //nolint:forbidigo // this is a program
	}
	os.Exit(0) //nolint:forbidigo // this is a program
}

// Version makes a version directory whose interpreter is the test's binary.
func Version(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "bin", "python3.12")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Profile starts the engine in one of its ways.
func Profile(mode string) bundle.Profile {
	return bundle.Profile{
		Module:    "fake_engine",
		Args:      []string{"--model", "{model.dir}", "--host", "{host}", "--port", "{port}"},
		Env:       map[string]string{modeVariable: mode, "GORACE": "atexit_sleep_ms=0"}, // an engine that dies is gone at once
		Health:    "/health",
		Names:     bundle.NamesRewrite,
		Endpoints: []string{"/v1/chat/completions", "/v1/completions"},
		Scratch:   []string{"HF_HUB_CACHE"},
		Failures:  []bundle.KnownFailure{{Line: "No safetensors found", Hint: "the model has no weights: pull it again"}},
		Ready:     bundle.Duration(5 * time.Minute),
	}
}

// traceback is what Half and Dies print, as a child of vLLM logs it.
const traceback = `INFO loading
(EngineCore pid=7) ERROR 11-23 10:00:01 [core.py:700] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-23 10:00:01 [core.py:700]   File "load.py", line 1, in <module>
(APIServer pid=6) INFO 11-23 10:00:01 [launcher.py:1] waiting
(EngineCore pid=7) ERROR 11-23 10:00:02 [core.py:700] FileNotFoundError: No safetensors found in model
Traceback (most recent call last):
  File "server.py", line 2, in <module>
RuntimeError: Engine core initialization failed. See root cause above
`

var errUnknownMode = errors.New("unknown mode")

// run is the engine.
func run(mode string) error {
	out := os.Stdout //nolint:forbidigo // this is a program
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	switch mode {
	case helper:
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends with the process
		if err != nil {
			return err
		}
		signal.Ignore(syscall.SIGTERM)
		say(out, "helper at %s\n", l.Addr())
		select {}
	case Dies:
		say(out, "%s", traceback)
		return errors.New("exiting")
	case Killed:
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case Half, Silent:
		say(out, "%s", traceback)
		if mode == Silent {
			<-terminated
			return nil
		}
	case Sound:
		cmd := exec.Command(os.Args[0]) //nolint:noctx,forbidigo // it must outlive its parent
		cmd.Env = []string{modeVariable + "=" + helper}
		cmd.Stdout = out
		if err := cmd.Start(); err != nil {
			return err
		}
	case Never, Refuses, Stubborn:
	default:
		return errUnknownMode
	}
	go func() { _ = http.ListenAndServe("127.0.0.1:"+port(), serve(mode)) }() //nolint:gosec // a test's server
	for range terminated {
		if mode != Stubborn {
			break
		}
	}
	return nil
}

// port is the value of --port.
func port() string {
	args := os.Args //nolint:forbidigo // this is a program
	for i, a := range args {
		if a == "--port" {
			return args[i+1]
		}
	}
	return ""
}

// serve answers like the engine.
func serve(mode string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if mode == Never || mode == Half {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /v1/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if mode == Refuses {
			http.Error(w, `{"error": "no chat template"}`, http.StatusBadRequest)
			return
		}
		answer(w, body)
	})
	return mux
}

// answer says the request back. In the text of a request, "die" ends the
// engine, "cut" ends a stream early, "fail" answers 404 as mlx_lm words it.
func answer(w http.ResponseWriter, body []byte) {
	var req struct {
		Model  string `json:"model"`
		Stream bool   `json:"stream"`
	}
	_ = json.Unmarshal(body, &req)           // an empty request is answered too
	quoted, _ := json.Marshal(req.Model)     // a string
	content, _ := json.Marshal(string(body)) // likewise
	switch text := string(body); {
	case strings.Contains(text, `"die"`):
		fmt.Fprint(os.Stderr, "Traceback (most recent call last):\n  File \"x.py\"\nMemoryError: out of it\n") //nolint:forbidigo // this is a program
		os.Exit(3)                                                                                             //nolint:forbidigo // this is a program
	case strings.Contains(text, `"fail"`):
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		say(w, `{"error": "cannot use %s"}`, req.Model)
	case req.Stream:
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		say(w, ": keepalive 1/1\n\n")
		say(w, "data: {\"model\": %s, \"choices\": [{\"delta\": {\"content\": %s}}]}\n\n", quoted, content)
		if !strings.Contains(text, `"cut"`) {
			say(w, "data: [DONE]\n\n")
		}
	default:
		w.Header().Set("Content-Type", "application/json")
		say(w, `{"object": "chat.completion", "model": %s, "choices": [{"message": {"content": %s, "model": "inner"}}]}`, quoted, content)
	}
}

// say writes to a log or a client; one that is gone hears nothing.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
