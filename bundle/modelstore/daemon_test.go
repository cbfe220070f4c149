// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/dmrtest"
	"github.com/metalpack/metalpack/internal/pipetest"
)

// running is a daemon that answers, and what it was asked.
type running struct {
	url   string
	mu    sync.Mutex
	lines []string
}

func (r *running) log(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

func (r *running) asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines
}

func startDMR(t *testing.T, dir string, fault dmrtest.Fault) *running {
	t.Helper()
	r := &running{}
	srv := httptest.NewServer(&dmrtest.Daemon{Dir: dir, Fault: fault, Log: r.log})
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

// pullNoted pulls and returns the sentences for the user.
func pullNoted(t *testing.T, s *Store, a bundle.Source, ref string) (Model, []string, error) {
	t.Helper()
	root, err := a.Resolve(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var notes []string
	m, err := s.Pull(t.Context(), a, root, ref, func(e bundle.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == bundle.EventNote {
			notes = append(notes, e.Reason)
		}
	})
	return m, notes, err
}

// A daemon with a store of its own is not asked to change it, even if it has
// the blobs and would.
func TestDaemonElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the daemon's time stands still while it works
		a := newModel(t, "{}")
		theirs := newStore(t)
		pull(t, theirs, a, "ai/x:theirs")
		pull(t, theirs, newModel(t, `{"model_type":"b"}`), "ai/y")
		dmr := startDMR(t, theirs.dir, "")
		s := newStore(t)
		s.Daemons = []Daemon{{base: dmr.url}}
		m, notes, err := pullNoted(t, s, a, "ai/x:ours")
		if err != nil || !cmp.Equal(m.Tags, []string{"docker.io/ai/x:ours"}) {
			t.Fatalf("%v, %v", m.Tags, err)
		}
		if diff := cmp.Diff([]string{"GET /models 200"}, dmr.asked()); diff != "" {
			t.Error(diff)
		}
		if len(notes) != 1 || !strings.Contains(notes[0], "did not register the model (it keeps its models elsewhere); writing it into "+s.dir) {
			t.Errorf("%q", notes)
		}
	})
}

// Whatever a daemon does, the model is in the store under its name afterwards;
// what it did not do, and why, is said.
func TestPullThroughDaemon(t *testing.T) {
	t.Parallel()
	const loads, tags = "POST /models/load ", "POST /models/ID/tag "
	for _, tt := range []struct {
		name  string
		fault dmrtest.Fault
		other bool // it has another store
		asked []string
		note  string // "" = nothing is said
	}{
		{name: "sound", asked: []string{"GET /models 200", loads + "200", tags + "201"}},
		{name: "another store", other: true, asked: []string{"GET /models 200", loads + "500"}, note: "missing blob"},
		{name: "refuses", fault: dmrtest.Refuses, asked: []string{"GET /models 200", loads + "500"}, note: "POST /models/load: 500 Internal Server Error: it says \"no space left on device\""},
		{name: "dies in the middle", fault: dmrtest.Dies, asked: []string{"GET /models 200", loads + "0"}, note: "EOF"},
		{name: "dies when it is done", fault: dmrtest.DiesLate, asked: []string{"GET /models 200", loads + "0"}, note: "EOF"},
		{name: "late error", fault: dmrtest.Late, asked: []string{"GET /models 200", loads + "200"}, note: "it says \"error while loading model: no space left on device\""},
		{name: "lies", fault: dmrtest.Lies, asked: []string{"GET /models 200", loads + "200", tags + "404"}, note: "404 Not Found"},
		{name: "does not tag", fault: dmrtest.NoTag, asked: []string{"GET /models 200", loads + "200", tags + "500"}, note: "cannot tag"},
		{name: "garbage", fault: dmrtest.Garbage, asked: []string{"GET /models 200"}, note: "does not list models"},
		{name: "silent", fault: dmrtest.Silent, note: "no answer within 10s"},
		{name: "silent later", fault: dmrtest.SilentTag, asked: []string{"GET /models 200", loads + "200"}, note: "no answer within 30s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t)
				dir := s.dir
				if tt.other {
					dir = t.TempDir()
				}
				dmr := &running{}
				client := pipetest.Client(t, &dmrtest.Daemon{Dir: dir, Fault: tt.fault, Log: dmr.log})
				s.Daemons = []Daemon{{base: "http://localhost", named: true, http: client}}
				m, notes, err := pullNoted(t, s, newModel(t, "{}"), "ai/x:1")
				if err != nil || !cmp.Equal(m.Tags, []string{"docker.io/ai/x:1"}) {
					t.Fatalf("%v, %v", m.Tags, err)
				}
				var asked []string
				for _, line := range dmr.asked() {
					asked = append(asked, strings.ReplaceAll(line, m.ID.String(), "ID"))
				}
				if diff := cmp.Diff(tt.asked, asked); diff != "" {
					t.Error(diff)
				}
				if said := strings.Join(notes, "\n"); (said == "") != (tt.note == "") || !strings.Contains(said, tt.note) || strings.Count(said, "\n") > 0 {
					t.Errorf("notes: %q, want one with %q", said, tt.note)
				}
				if x, err := s.readIndex(); err != nil || len(x.entries) != 1 {
					t.Errorf("models.json: %v, %v", x, err)
				}
				if _, err := s.Materialize(t.Context(), m); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A tag moves to the new model, and what is registered already is not again.
func TestPullThroughDaemonAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the daemon's time stands still while it works
		s := newStore(t)
		dmr := startDMR(t, s.dir, "")
		s.Daemons = []Daemon{{base: dmr.url}}
		one, two := newModel(t, "{}"), newModel(t, `{"model_type": "llama"}`)
		for i, a := range []bundle.Source{one, one, two, two} {
			_, notes, err := pullNoted(t, s, a, "hf.co/Org/M:Q8")
			if moved := i == 2; err != nil || moved != (len(notes) == 1 && strings.Contains(notes[0], "has no name now")) || !moved && len(notes) > 0 {
				t.Fatalf("%d: %v, %v", i, notes, err)
			}
		}
		models, err := s.List()
		if err != nil || len(models) != 2 || len(models[0].Tags) != 0 || !cmp.Equal(models[1].Tags, []string{"huggingface.co/org/m:Q8"}) {
			t.Errorf("%+v, %v", models, err)
		}
		if n := len(dmr.asked()); n != 6 {
			t.Errorf("%d requests, want 3 for each model: %q", n, dmr.asked())
		}
	})
}

// The first that answers is asked, at a socket and behind a prefix too; where
// nobody listens, or another program, nothing is said.
func TestPullFindsDaemon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the daemon's time stands still while it works
		s := newStore(t)
		home, err := os.MkdirTemp("", "dmr") //nolint:usetesting // short: a socket's path has 104 bytes at most
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(home) })
		socket := filepath.Join(home, ".docker", "desktop", "docker.sock")
		if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
			t.Fatal(err)
		}
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		r := &running{}
		srv := &httptest.Server{Listener: listener, Config: &http.Server{
			Handler: &dmrtest.Daemon{Dir: s.dir, Prefix: desktopPrefix, Log: r.log}, ReadHeaderTimeout: time.Minute,
		}}
		srv.Start()
		t.Cleanup(srv.Close)
		garbage, closed := startDMR(t, s.dir, dmrtest.Garbage), startDMR(t, s.dir, "")
		_, port, _ := strings.Cut(strings.TrimPrefix(closed.url, "http://"), ":")
		desktop := Daemons(func(name string) string { return map[string]string{"HOME": home}[name] })
		s.Daemons = append([]Daemon{{base: "http://127.0.0.1:1", named: true}, {base: garbage.url}}, desktop[:2]...)
		s.Daemons = append(s.Daemons, Daemon{base: "http://127.0.0.1:" + port})
		if _, notes, err := pullNoted(t, s, newModel(t, "{}"), "x"); err != nil || len(notes) > 0 {
			t.Fatalf("%q, %v", notes, err)
		}
		if len(r.asked()) != 3 || len(closed.asked()) != 0 || len(garbage.asked()) != 1 {
			t.Errorf("socket: %q; behind it: %q; before it: %q", r.asked(), closed.asked(), garbage.asked())
		}
	})
}

func TestDaemons(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		env  map[string]string
		want []string
	}{
		{map[string]string{"HOME": "/h"}, []string{"/h/.docker/run/docker.sock", "/h/.docker/desktop/docker.sock", "http://localhost:12434"}},
		{map[string]string{"MODEL_RUNNER_SOCK": "/s"}, []string{"/s", "http://localhost:12434"}},
		{map[string]string{"MODEL_RUNNER_SOCK": ` "/s" `}, []string{"/s", "http://localhost:12434"}},
		{map[string]string{"DOCKER_HOST": "tcp://box:2376", "DOCKER_CONTEXT": "far", "MODEL_RUNNER_TLS": "true"}, []string{"http://localhost:12434"}},
		{map[string]string{"HOME": "/h", "MODEL_RUNNER_SOCK": "/s", "MODEL_RUNNER_HOST": "box:1"}, []string{"http://box:1"}},
		{map[string]string{"MODEL_RUNNER_HOST": "https://box/dmr/"}, []string{"https://box/dmr"}},
	} {
		var got []string
		for _, d := range Daemons(func(name string) string { return tt.env[name] }) {
			got = append(got, d.String())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v: %s", tt.env, diff)
		}
	}
}

// Ctrl-C while a daemon thinks ends the pull; the next one goes on from there.
func TestPullInterruptedAtDaemon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the daemon's time stands still while it works
		s := newStore(t)
		ctx, cancel := context.WithCancel(t.Context())
		srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		}))
		t.Cleanup(srv.Close)
		s.Daemons = []Daemon{{base: srv.URL}}
		a := newModel(t, "{}")
		root, err := a.Resolve(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Pull(ctx, a, root, "x", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want a cancelled pull", err)
		}
		if models, err := s.List(); err != nil || len(models) != 0 {
			t.Errorf("%v, %v", models, err)
		}
		s.Daemons = nil
		pull(t, s, a, "x")
	})
}

// A name that is no address is said, since the user gave it.
func TestPullBadDaemon(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.Daemons = Daemons(func(name string) string { return map[string]string{"MODEL_RUNNER_HOST": "ftp://[x"}[name] })
	if _, notes, err := pullNoted(t, s, newModel(t, "{}"), "x"); err != nil || len(notes) != 1 || !strings.Contains(notes[0], "ftp://[x") {
		t.Errorf("%q, %v", notes, err)
	}
}
