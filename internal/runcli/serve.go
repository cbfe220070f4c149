// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/modelstore"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/runtime/proxy"
)

// Where serve listens unless --addr or the variable says else.
const (
	defaultAddr  = "127.0.0.1:12436"
	hostVariable = "METALRUN_HOST"
)

// How long serve takes to end after the signal.
const (
	stopTimeout   = 15 * time.Second // all of it
	answerTimeout = 2 * time.Second  // of answers, once the engine is gone
)

type serveOptions struct {
	addr       string
	named      string // what messages call addr
	env        string
	engine     string
	allowHosts multiFlag
}

// multiFlag is a flag that may be repeated.
type multiFlag []string

// String implements flag.Value.
func (m *multiFlag) String() string { return strings.Join(*m, ",") }

// Set implements flag.Value.
func (m *multiFlag) Set(s string) error {
	*m = append(*m, s)
	return nil
}

func (a *app) serveVerb() verb {
	o := serveOptions{}
	return verb{
		name: "serve", short: "serve every model of the store by the OpenAI API",
		long: "One endpoint for all models of 'metalrun list', below /v1. The first request for a model\n" +
			"starts the engine with it. The address is printed on stdout once it answers, with --json as\n" +
			"url; Ctrl-C stops everything.",
		example: "metalrun serve --addr 127.0.0.1:12436",
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&o.addr, "addr", "", "loopback `address` to listen on (default $"+hostVariable+", else "+defaultAddr+"); port 0 picks a free one")
			envFlag(fs, &o.env)
			fs.StringVar(&o.engine, "engine", "", "launch `profile`, when the environment has several")
			fs.Var(&o.allowHosts, "allow-host", "`name` besides loopback that clients may call this host; may be repeated")
		},
		run: func(ctx context.Context, args []string) error {
			if err := edge.WantArgs("serve", args); err != nil {
				return err
			}
			return a.runServe(ctx, o)
		},
	}
}

func (a *app) runServe(ctx context.Context, o serveOptions) error {
	for _, host := range o.allowHosts {
		if host == "" || strings.ContainsAny(host, "/ ") {
			return edge.Usagef("serve: --allow-host %q: want a name, like host.docker.internal", host)
		}
	}
	o.named = "address"
	if o.addr == "" {
		o.addr, o.named = a.Env.Getenv(hostVariable), hostVariable
	}
	if o.addr == "" {
		o.addr = defaultAddr
	}
	ep, err := a.startEndpoint(ctx, o)
	if err != nil {
		return err
	}
	if err := a.tellAddress(ep); err != nil {
		return errors.Join(err, ep.close(ctx))
	}
	a.Note("%s serves the models of %s; Ctrl-C stops it", ep.profile, ep.store.Path())
	select {
	case <-ctx.Done():
		a.Note("stopping")
		return errors.Join(context.Cause(ctx), ep.close(ctx))
	case err := <-ep.failed:
		return errors.Join(err, ep.close(ctx))
	}
}

// tellAddress prints where the endpoint is, now and not at the end.
func (a *app) tellAddress(ep *endpoint) error {
	if a.JSON {
		return a.Document(map[string]string{"url": ep.url, "engine": ep.profile, "store": ep.store.Path()})
	}
	return a.Print(ep.url + "\n")
}

// endpoint is a running proxy with the engine behind it.
type endpoint struct {
	url     string
	profile string
	store   *modelstore.Store
	server  *http.Server
	manager *proxy.Manager
	witness *witness
	failed  chan error
	release func() error // of the environment and the log
}

// startEndpoint listens and serves until closed.
func (a *app) startEndpoint(ctx context.Context, o serveOptions) (_ *endpoint, err error) {
	home, name, err := a.home(o.env)
	if err != nil {
		return nil, err
	}
	release, err := home.Use(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, release())
		}
	}()
	version, err := home.Active(name)
	if err != nil {
		return nil, err
	}
	profile, err := pickProfile(version.Env, o.engine)
	if err != nil {
		return nil, err
	}
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	logs, letGo, err := a.logDir()
	if err != nil {
		return nil, err
	}
	letEnvironment := release
	release = func() error { return errors.Join(letGo(), letEnvironment()) }
	ln, err := listen(ctx, o.named, o.addr)
	if err != nil {
		return nil, err
	}
	ep := &endpoint{url: "http://" + ln.Addr().String(), profile: profile, store: store, failed: make(chan error, 1), release: release}
	ep.manager = proxy.NewManager(proxy.ManagerConfig{
		Engine: profile, VersionDir: version.Dir, Profile: version.Env.Launch[profile], Resolve: resolver(store), LogDir: logs, Events: a.Events(),
	})
	ep.witness = &witness{Backends: ep.manager}
	ep.server = &http.Server{
		Handler: proxy.New(proxy.Options{
			Models: proxy.ModelsFunc(lister(store)), Backends: ep.witness,
			Endpoints: version.Env.Launch[profile].Endpoints, AllowHosts: o.allowHosts,
		}),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	go func() {
		if err := ep.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			ep.failed <- err
		}
	}()
	return ep, nil
}

// witness remembers why the last request got no engine: a command that asks
// its own endpoint tells the user more than the answer can.
type witness struct {
	proxy.Backends

	mu  sync.Mutex
	err error
}

// Acquire implements proxy.Backends.
func (w *witness) Acquire(ctx context.Context, id string) (*proxy.Lease, error) {
	lease, err := w.Backends.Acquire(ctx, id)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	return lease, err
}

// refusal returns why the last request got no engine, once. A nil witness saw
// none.
func (w *witness) refusal() error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.err
	w.err = nil
	return err
}

// close ends the engine, then the endpoint, also when ctx has ended: the
// engine first, so that streams end with an error and not with
// the deadline.
func (ep *endpoint) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := ep.manager.Close(ctx)
	// What is left is answers that say so, and clients that never end a request.
	answers, cancelAnswers := context.WithTimeout(ctx, answerTimeout)
	defer cancelAnswers()
	if serr := ep.server.Shutdown(answers); serr != nil {
		err = errors.Join(err, ep.server.Close())
	}
	return errors.Join(err, ep.release())
}

// listen opens a loopback address, which messages call named, and nothing else.
func listen(ctx context.Context, named, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, edge.Usagef("serve: %s %q: want host:port", named, addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, edge.Usagef("serve: %s %q: the port must be a number from 0, which picks a free one, to 65535", named, addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, edge.Usagef("serve: %s %q is not loopback: everyone who reaches it could use the engine", named, addr)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, edge.WithHint(fmt.Errorf("serve: %w", err), "another program has the port, perhaps another 'metalrun serve': pass --addr 127.0.0.1:0 for a free one")
	case errors.Is(err, syscall.EACCES):
		return nil, edge.WithHint(fmt.Errorf("serve: %w", err), "ports below 1024 belong to the system: take a higher one")
	case err != nil:
		return nil, fmt.Errorf("serve: %w", err)
	}
	return ln, nil
}

// pickProfile chooses a launch profile of an environment.
func pickProfile(env *bundle.Environment, name string) (string, error) {
	names := slices.Sorted(maps.Keys(env.Launch))
	switch {
	case name != "" && slices.Contains(names, name):
		return name, nil
	case name != "":
		return "", edge.Errorf(bundle.ErrNotFound, "engine %q: %s has only %s", name, env.Name, strings.Join(names, ", "))
	case slices.Contains(names, env.Name):
		return env.Name, nil
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0:
		return "", edge.Errorf(bundle.ErrNotFound, "%s has no launch profile: it cannot serve", env.Name)
	}
	return "", edge.Usagef("%s has several engines (%s): choose with --engine", env.Name, strings.Join(names, ", "))
}

// lister lists the models of the store that can be read.
func lister(store *modelstore.Store) func(context.Context) ([]proxy.Model, error) {
	return func(context.Context) ([]proxy.Model, error) {
		models, err := store.List()
		if err != nil {
			return nil, err
		}
		var out []proxy.Model
		for _, m := range models {
			if m.Problem == nil {
				out = append(out, proxy.Model{ID: modelName(m), Key: engineKey(m), Names: modelstore.Names(m), Unlisted: m.Info.CheckServable() != nil})
			}
		}
		return out, nil
	}
}

// engineKey is the model's name with its digest: a pull may give the name to
// another model, for which the running engine is the wrong one.
func engineKey(m modelstore.Model) string {
	if len(m.Tags) == 0 {
		return m.ID.String()
	}
	return m.Tags[0] + "@" + m.ID.String()
}

// resolver verifies a model and gives the directory to load.
func resolver(store *modelstore.Store) func(context.Context, string) (string, []string, error) {
	return func(ctx context.Context, key string) (string, []string, error) {
		m, err := store.Find(key)
		if err != nil {
			return "", nil, err
		}
		dir, err := store.Materialize(ctx, m)
		return dir, modelstore.Names(m), err
	}
}
