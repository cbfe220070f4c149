// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/runtime/launch"
)

// Back-off between the starts of an engine that fails: it doubles from first
// to longest. An engine that served for steady is forgiven.
const (
	firstBackOff   = time.Second
	longestBackOff = time.Minute
	steady         = time.Minute
	endTimeout     = 2 * time.Second
)

// ManagerConfig says how engines are started. Resolve, VersionDir, Profile and
// LogDir are required.
type ManagerConfig struct {
	Engine     string         // the profile's name, for messages
	VersionDir string         // the installed version that serves
	Profile    bundle.Profile // how
	// Resolve finds a model by its key: the directory to load and the names to
	// serve it under. Its error names the model.
	Resolve    func(ctx context.Context, id string) (dir string, names []string, err error)
	LogDir     string        // one log per engine name; for this manager alone
	ScratchDir string        // see launch.Config
	Grace      time.Duration // see launch.Config
	BackOff    time.Duration // after the first failure, doubled with each; 0 = 1 s
	EndWait    time.Duration // how long a broken request waits for its engine's end, which says why; 0 = 2 s
	Events     bundle.EventFunc
}

// Manager keeps at most one model loaded, and is a [Backends]. A request for
// another model waits until the loaded one has no request left, then replaces
// it; requests that come later wait in turn, so that nobody waits for ever.
type Manager struct {
	cfg ManagerConfig

	mu      sync.Mutex
	closed  bool
	current *engine
	failed  map[string]*failure // by the model's key
}

// engine is one model in memory, or on the way in or out. The fields below mu
// of its manager are guarded by that.
type engine struct {
	id      string
	started chan struct{} // closed when server or err is set
	gone    chan struct{} // closed when the process has ended
	cancel  context.CancelFunc
	server  *launch.Server
	err     error

	users    int
	idle     chan struct{} // closed when users falls to 0 while draining
	draining bool          // somebody waits to replace it
	since    time.Time     // ready since
}

// failure remembers why a model's engine failed, and until when it is not
// tried again.
type failure struct {
	err   error
	wait  time.Duration
	until time.Time
}

// NewManager returns a manager; [Manager.Close] ends what it started.
func NewManager(cfg ManagerConfig) *Manager {
	return &Manager{cfg: cfg, failed: map[string]*failure{}}
}

// Loaded is the key of the model that is ready, or "".
func (m *Manager) Loaded() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current != nil && m.current.server != nil {
		return m.current.id
	}
	return ""
}

// Acquire returns the engine for a model, starting it on the first request.
// All who ask meanwhile share that start; it goes on when they leave. The
// errors are those of [Backends].
func (m *Manager) Acquire(ctx context.Context, id string) (*Lease, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e, wait, err := m.join(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case e != nil:
			return m.lease(ctx, e)
		}
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
}

// join makes the caller a user of the engine for id, if there is one or one
// can be started now. Else it returns what to wait for before asking again.
func (m *Manager) join(ctx context.Context, id string) (*engine, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, nil, fmt.Errorf("model %s: %w", id, ErrClosed)
	}
	e := m.current
	switch {
	case e == nil:
		if f := m.failed[id]; f != nil && time.Now().Before(f.until) {
			return nil, nil, fmt.Errorf("%w: %w", f.err, ErrBackOff)
		}
		e = &engine{id: id, users: 1, started: make(chan struct{}), gone: make(chan struct{}), idle: make(chan struct{})}
		startCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		e.cancel = cancel
		m.current = e
		go m.run(startCtx, e)
		return e, nil, nil
	case e.ended(): // and run is about to say why
	case e.id == id && !e.draining:
		e.users++
		return e, nil, nil
	case !e.draining:
		e.draining = true
		if e.users == 0 {
			close(e.idle)
		}
		go m.retire(context.WithoutCancel(ctx), e)
	}
	return nil, e.gone, nil
}

// ended reports whether the process of e, which was ready, is gone. The caller
// holds mu of its manager.
func (e *engine) ended() bool {
	if e.server == nil {
		return false
	}
	select {
	case <-e.server.Done():
		return true
	default:
		return false
	}
}

// lease waits until e is ready.
func (m *Manager) lease(ctx context.Context, e *engine) (*Lease, error) {
	release := sync.OnceFunc(func() { m.release(e) })
	select {
	case <-e.started:
	case <-ctx.Done():
		release()
		return nil, context.Cause(ctx)
	}
	if e.err != nil {
		release()
		return nil, e.err
	}
	return &Lease{URL: e.server.URL, Model: e.server.RequestModel(), Release: release, Cause: func() error {
		timer := time.NewTimer(cmp.Or(m.cfg.EndWait, endTimeout))
		defer timer.Stop()
		select {
		case <-e.server.Done():
			return e.server.Err()
		case <-timer.C:
			return nil
		}
	}}, nil
}

func (m *Manager) release(e *engine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.users--; e.users == 0 && e.draining {
		close(e.idle)
	}
}

// retire stops an engine that somebody wants to replace, once it is idle.
func (m *Manager) retire(ctx context.Context, e *engine) {
	select {
	case <-e.idle:
	case <-e.gone:
		return
	}
	e.cancel() // a start that nobody waits for any more
	<-e.started
	if e.server != nil {
		_ = e.server.Stop(ctx) // run reports how it ended
	}
}

// run starts an engine, waits for its end and records a failure.
func (m *Manager) run(ctx context.Context, e *engine) {
	defer e.cancel()
	server, err := m.launch(ctx, e.id)
	m.mu.Lock()
	e.server, e.err, e.since = server, err, time.Now()
	if err != nil {
		m.end(e, err) // before it is told: who asks again finds the back-off
	}
	m.mu.Unlock()
	close(e.started)
	if err != nil {
		return
	}
	<-server.Done()
	if err = server.Err(); err != nil {
		m.cfg.Events.Emit(bundle.Event{Kind: bundle.EventNote, What: "model " + e.id, Reason: engineError(err).Message})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end(e, err)
}

// end records how the life of e ended and makes room for another. The caller
// holds mu.
func (m *Manager) end(e *engine, err error) {
	if err != nil && !errors.Is(err, context.Canceled) { // else stopped by us
		f := &failure{err: err, wait: cmp.Or(m.cfg.BackOff, firstBackOff)}
		if last := m.failed[e.id]; last != nil && (e.server == nil || time.Since(e.since) < steady) {
			f.wait = min(2*last.wait, longestBackOff)
		}
		f.until = time.Now().Add(f.wait)
		m.failed[e.id] = f
	}
	if m.current == e {
		m.current = nil
	}
	close(e.gone)
}

// launch finds the model and starts its engine.
func (m *Manager) launch(ctx context.Context, id string) (*launch.Server, error) {
	dir, names, err := m.cfg.Resolve(ctx, id)
	if err != nil {
		return nil, err // it names the model
	}
	return launch.Start(ctx, launch.Config{
		Engine: m.cfg.Engine, VersionDir: m.cfg.VersionDir, Profile: m.cfg.Profile,
		ModelDir: dir, Names: names, LogPath: filepath.Join(m.cfg.LogDir, m.cfg.logName()),
		ScratchDir: m.cfg.ScratchDir, Grace: m.cfg.Grace, Events: m.cfg.Events,
	})
}

func (c *ManagerConfig) logName() string {
	if bundle.CheckName(c.Engine) != nil {
		return "engine.log"
	}
	return c.Engine + ".log"
}

// Close refuses new requests, ends the engine, with requests in flight or
// not, and returns when its process is gone or ctx ends.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	e := m.current
	m.mu.Unlock()
	if e == nil {
		return nil
	}
	e.cancel()
	select {
	case <-e.started:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if e.server != nil {
		if err := e.server.Stop(ctx); err != nil {
			return err
		}
	}
	select {
	case <-e.gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
