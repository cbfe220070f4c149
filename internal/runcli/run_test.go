// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
	"github.com/metalpack/metalpack/runtime/launch/launchtest"
	"github.com/metalpack/metalpack/runtime/proxy"
)

func TestMain(m *testing.M) {
	launchtest.Main()
	m.Run()
}

// TestAnswers: what servers of others send is an answer or an error, and never
// silence.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const word = `{"choices":[{"delta":{"content":"hi"}}]}`
	for name, tt := range map[string]struct {
		kind, body string
		code       int
		stdout     string
		stderr     string // after the address
	}{
		"stream":     {"text/event-stream; charset=utf-8", "data: " + word + "\n\ndata: [DONE]\n\n", edge.ExitOK, "hi\n", ""},
		"no blank":   {"text/event-stream", "data:" + word + "\n\ndata:[DONE]\n\n", edge.ExitOK, "hi\n", ""},
		"error":      {"text/event-stream", "data: {\"error\":{\"message\":\"no room\"}}\n\n", edge.ExitError, "", "metalrun: error: no room\n"},
		"late error": {"text/event-stream", "data: " + word + "\n\ndata: {\"error\":{\"message\":\"no room\"}}\n\n", edge.ExitError, "hi\n", "metalrun: error: no room\n"},
		"page":       {"text/html", "<html>", edge.ExitError, "", `: it answers with "text/html", want a stream of events` + "\n"},
		"no JSON":    {"text/event-stream", "data: <html>\n\n", edge.ExitError, "", "metalrun: error: the stream has a line that is not JSON: invalid character '<' looking for beginning of value\n"},
		"finished":   {"text/event-stream", "data: " + word + "\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n", edge.ExitOK, "hi\n", ""},
		"cut":        {"text/event-stream", "data: " + word + "\n\n", edge.ExitError, "hi\n", "metalrun: error: the answer was cut: the stream ended before [DONE]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				if _, err := io.WriteString(w, tt.body); err != nil {
					t.Error(err)
				}
			}))
			defer srv.Close()
			want := result{tt.code, tt.stdout, tt.stderr}
			if name == "page" {
				want.stderr = "metalrun: error: " + srv.URL + tt.stderr
			}
			if got := command(t, "run", "x", "hello", "--endpoint", srv.URL); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// typing is a terminal at which those lines are typed.
func typing(t *testing.T, lines ...string) io.Reader {
	t.Helper()
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = screen.Close() // ends the reader
		_ = tty.Close()
	})
	if _, err := io.WriteString(screen, strings.Join(lines, "\n")+"\n"); err != nil {
		t.Fatal(err)
	}
	return tty
}

// TestChatGoesOn: at a terminal what fails is one turn, unless none can follow.
func TestChatGoesOn(t *testing.T) {
	t.Parallel()
	lines := []string{"refuse", "cut", "hello", "again", "gone", "never"}
	for name, tt := range map[string]struct {
		stdin  io.Reader
		code   int
		stdout string
		errors []string
	}{
		"terminal": {typing(t, lines...), edge.ExitError, "cut\nhello\nhello again\n", []string{"error: too long\n", "error: the answer was cut", "connection refused\nhint: "}},
		"stopped":  {typing(t, "refuse", "hello", ""), edge.ExitOK, "hello\n", []string{"error: too long\n"}},
		"script":   {strings.NewReader(strings.Join(lines, "\n")), edge.ExitError, "", []string{"error: too long\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var srv *httptest.Server
			srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var said []string // by the user
				var body struct {
					Messages []message `json:"messages"`
				}
				if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
					t.Error(err)
				}
				for _, m := range body.Messages {
					if m.Role == "user" {
						said = append(said, m.Content)
					}
				}
				switch said[len(said)-1] {
				case "refuse":
					http.Error(w, `{"error": {"message": "too long"}}`, http.StatusBadRequest)
					return
				case "gone":
					_ = srv.Listener.Close() // nobody else can connect
					panic(http.ErrAbortHandler)
				}
				w.Header().Set("Content-Type", "text/event-stream")
				done := "data: [DONE]\n\n"
				if said[0] == "cut" {
					done = ""
				}
				_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n%s", strings.Join(said, " "), done)
			}))
			defer srv.Close()
			var out, msg bytes.Buffer
			env := &edge.Env{Args: []string{"run", "x", "--endpoint", srv.URL}, Stdin: tt.stdin, Stdout: &out, Stderr: &msg, Getenv: func(string) string { return "" }}
			if code := Main(t.Context(), env); code != tt.code || out.String() != tt.stdout {
				t.Errorf("exit code %d, stdout %q", code, out.String())
			}
			rest := msg.String()
			for _, want := range tt.errors { // in their order
				_, after, found := strings.Cut(rest, want)
				if rest = after; !found {
					t.Errorf("no %q: %s", want, msg.String())
				}
			}
		})
	}
}

// TestChatEngine: an engine that dies is started again, and one that does not
// start ends the chat with the reason.
func TestChatEngine(t *testing.T) {
	t.Parallel()
	starts, gone := 0, errors.New("model x is gone")
	profile := launchtest.Profile(launchtest.Sound)
	manager := proxy.NewManager(proxy.ManagerConfig{
		Engine: "fake", VersionDir: launchtest.Version(t), Profile: profile, LogDir: t.TempDir(), ScratchDir: t.TempDir(),
		BackOff: time.Nanosecond, EndWait: time.Minute, Events: func(bundle.Event) {},
		Resolve: func(context.Context, string) (string, []string, error) {
			if starts++; starts == 3 {
				return "", nil, gone
			}
			return t.TempDir(), []string{"x"}, nil
		},
	})
	own := &witness{Backends: manager}
	srv := httptest.NewServer(proxy.New(proxy.Options{
		Backends: own, Endpoints: profile.Endpoints,
		Models: proxy.ModelsFunc(func(context.Context) ([]proxy.Model, error) { return []proxy.Model{{ID: "x"}}, nil }),
	}))
	t.Cleanup(func() {
		srv.Close()
		if err := manager.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	var out, msg bytes.Buffer
	stdin := typing(t, "hello", "die", "fail", "again", "die", "more", "never")
	a := &app{Console: ui.Console{JSON: true, Progress: "plain", Env: &edge.Env{Program: "metalrun", Stdin: stdin, Stdout: &out, Stderr: &msg, Rows: rows()}}}
	if err := a.Open(); err != nil {
		t.Fatal(err)
	}
	c := &chat{app: a, endpoint: srv.URL, own: own, model: "x"}
	if err := c.loop(t.Context()); !errors.Is(err, gone) {
		t.Errorf("%v; %s", err, msg.String())
	}
	var got []string // what each turn came to
	for dec := json.NewDecoder(&out); dec.More(); {
		var turn struct {
			Error string `json:"error"`
		}
		if err := dec.Decode(&turn); err != nil {
			t.Fatal(err)
		}
		got = append(got, turn.Error)
	}
	for i, want := range []string{"", "MemoryError", "cannot use", "", "MemoryError"} {
		if len(got) != 5 || !strings.Contains(got[i], want) || want == "" && got[i] != "" {
			t.Fatalf("turns came to %q", got)
		}
	}
}
