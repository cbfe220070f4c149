// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// DefaultMaxBody is the cap of a request's body: room for images in a chat.
const DefaultMaxBody = 64 << 20

// DefaultBodyTimeout is how long a client may take to send a request.
const DefaultBodyTimeout = time.Minute

// Model is a model that can be asked for.
type Model struct {
	ID      string   // shown by /v1/models
	Key     string   // given to Backends: under another one it is another engine; "" = ID
	Names   []string // tags and other names; ID need not be among them
	Created int64    // Unix time

	// Unlisted hides the model in /v1/models: nothing can serve it, and who
	// asks for it by name is told why.
	Unlisted bool
}

// key is what Backends know the model by.
func (m Model) key() string { return cmp.Or(m.Key, m.ID) }

// Models lists what can be asked for. It is called for every request.
type Models interface {
	List(ctx context.Context) ([]Model, error)
}

// ModelsFunc is a function as [Models].
type ModelsFunc func(ctx context.Context) ([]Model, error)

// List calls f.
func (f ModelsFunc) List(ctx context.Context) ([]Model, error) { return f(ctx) }

// Lease is the right to use a running engine until Release is called.
type Lease struct {
	URL     string       // http://host:port
	Model   string       // the name to ask the engine for
	Release func()       // call once
	Cause   func() error // why the engine ended; nil if it lives. May wait a moment for the end. Can be nil
}

// Backends provides running engines.
type Backends interface {
	// Acquire returns an engine that serves the model with this key, starting
	// it if need be. Errors that are an [*launch.Error] or wrap
	// [bundle.ErrNotFound], [ErrClosed] or [ErrBackOff] have their own answers.
	Acquire(ctx context.Context, key string) (*Lease, error)
	// Loaded is the key of the model in memory, "" if there is none.
	Loaded() string
}

// Options configure the handler. Models and Backends are required.
type Options struct {
	Models     Models
	Backends   Backends
	Endpoints  []string          // paths of POST requests that engines serve, e.g. /v1/chat/completions
	AllowHosts []string          // names beside loopback that Host and Origin may have
	MaxBody    int64             // cap of a request; 0 = DefaultMaxBody
	Transport  http.RoundTripper // to the engines; nil = a direct one

	BodyTimeout time.Duration // until a request is complete; 0 = DefaultBodyTimeout
}

// handler is the endpoint.
type handler struct {
	opts   Options
	client *http.Client
}

// New returns the handler.
func New(opts Options) http.Handler {
	if opts.MaxBody == 0 {
		opts.MaxBody = DefaultMaxBody
	}
	if opts.BodyTimeout == 0 {
		opts.BodyTimeout = DefaultBodyTimeout
	}
	if opts.Transport == nil {
		opts.Transport = &http.Transport{DialContext: (&net.Dialer{}).DialContext, DisableCompression: true}
	}
	h := &handler{opts: opts, client: &http.Client{
		Transport:     opts.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return h
}

// ServeHTTP guards, then routes.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.guard(w, r); err != nil {
		err.write(w)
		return
	}
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, "/engines/v1/"); ok {
		path = "/v1/" + rest
	}
	switch {
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent) // preflight of an allowed origin
	case path == "/" || path == "/health":
		h.only(w, r, http.MethodGet, h.health)
	case path == "/v1/models":
		h.only(w, r, http.MethodGet, h.list)
	case strings.HasPrefix(path, "/v1/models/"):
		h.only(w, r, http.MethodGet, func(w http.ResponseWriter, r *http.Request) {
			h.show(w, r, strings.TrimPrefix(path, "/v1/models/"))
		})
	case slices.Contains(h.opts.Endpoints, path):
		h.only(w, r, http.MethodPost, func(w http.ResponseWriter, r *http.Request) { h.forward(w, r, path) })
	default:
		newError(http.StatusNotFound, "", "unknown_endpoint",
			fmt.Sprintf("no endpoint %s; there are %s", r.URL.Path, strings.Join(h.endpoints(), ", "))).write(w)
	}
}

// endpoints are all that there are, each once.
func (h *handler) endpoints() []string {
	return append([]string{"/v1/models"}, slices.DeleteFunc(slices.Clone(h.opts.Endpoints), func(p string) bool { return p == "/v1/models" })...)
}

// only answers 405 to other methods.
func (h *handler) only(w http.ResponseWriter, r *http.Request, method string, next http.HandlerFunc) {
	if r.Method != method && (method != http.MethodGet || r.Method != http.MethodHead) {
		w.Header().Set("Allow", method)
		newError(http.StatusMethodNotAllowed, "", "method_not_allowed", fmt.Sprintf("%s wants %s", r.URL.Path, method)).write(w)
		return
	}
	next(w, r)
}

// health answers for the endpoint itself; an engine is loaded on demand.
func (h *handler) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]string{"status": "ok", "loaded": h.opts.Backends.Loaded()})
}

// modelObject is a model in OpenAI's shape.
type modelObject struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	OwnedBy string   `json:"owned_by"`
	Names   []string `json:"names,omitempty"` // ours: every name that works
}

func object(m Model) modelObject {
	return modelObject{ID: m.ID, Object: "model", Created: m.Created, OwnedBy: "metalrun", Names: m.Names}
}

// list is GET /v1/models.
func (h *handler) list(w http.ResponseWriter, r *http.Request) {
	models, err := h.opts.Models.List(r.Context())
	if err != nil {
		engineError(err).write(w)
		return
	}
	data := make([]modelObject, 0, len(models))
	for _, m := range listed(models) {
		data = append(data, object(m))
	}
	writeJSON(w, map[string]any{"object": "list", "data": data})
}

// show is GET /v1/models/NAME.
func (h *handler) show(w http.ResponseWriter, r *http.Request, name string) {
	m, err := h.find(r.Context(), name)
	if err != nil {
		engineError(err).write(w)
		return
	}
	writeJSON(w, object(m))
}

// listed are the models that can be served.
func listed(models []Model) []Model {
	return slices.DeleteFunc(slices.Clone(models), func(m Model) bool { return m.Unlisted })
}

// find looks a name up; "" is the only model, or the loaded one.
func (h *handler) find(ctx context.Context, name string) (Model, error) {
	models, err := h.opts.Models.List(ctx)
	if err != nil {
		return Model{}, err
	}
	if name == "" {
		loaded, models := h.opts.Backends.Loaded(), listed(models)
		for _, m := range models {
			if len(models) == 1 || m.key() == loaded {
				return m, nil
			}
		}
		if len(models) == 0 {
			return Model{}, newError(http.StatusNotFound, "model", "model_not_found", "there is no model here: 'metalrun pull' fetches one")
		}
		return Model{}, newError(http.StatusBadRequest, "model", "model_required", "there are several models: name one in \"model\""+offer(models))
	}
	if m, ok := match(models, name); ok {
		return m, nil
	}
	return Model{}, newError(http.StatusNotFound, "model", "model_not_found",
		fmt.Sprintf("no model %q here: 'metalrun pull' fetches one, 'metalrun list' shows those there are%s", name, offer(listed(models))))
}

// offered is how many models an error names.
const offered = 10

// offer names the models that there are, for who cannot type commands here.
func offer(models []Model) string {
	if len(models) == 0 {
		return ""
	}
	names := make([]string, 0, offered+1)
	for _, m := range models[:min(len(models), offered)] {
		names = append(names, m.ID)
	}
	if more := len(models) - offered; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return ": " + strings.Join(names, ", ")
}

// match finds the model that has the name, word for word or as a short form
// of one of its tags. A name in full beats a short form.
func match(models []Model, name string) (Model, bool) {
	for _, m := range models {
		if m.ID == name || slices.Contains(m.Names, name) {
			return m, true
		}
	}
	want := canonical(name)
	for _, m := range models {
		if canonical(m.ID) == want || slices.ContainsFunc(m.Names, func(n string) bool { return canonical(n) == want }) {
			return m, true
		}
	}
	return Model{}, false
}

// canonical gives the spellings of one tag the same form: docker.io/ai/x:latest,
// ai/x and x are one. The repository has no case, the tag has.
func canonical(name string) string {
	repo, tag := name, "latest"
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		repo, tag = name[:i], name[i+1:]
	}
	repo = strings.ToLower(repo)
	repo = strings.TrimPrefix(strings.TrimPrefix(repo, "index."), "docker.io/")
	if rest, ok := strings.CutPrefix(repo, "hf.co/"); ok {
		repo = "huggingface.co/" + rest
	}
	if !strings.Contains(repo, "/") {
		repo = "ai/" + repo
	}
	return repo + ":" + tag
}

// writeJSON answers 200.
func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // our own plain structs; a client that is gone reads nothing
}
