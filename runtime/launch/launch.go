// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/child"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// loopback is the only address a server listens on: the proxy is its door.
const loopback = "127.0.0.1"

// PreviousLog is appended to the name of the log of the engine before.
const PreviousLog = ".1"

// portAttempts is how often a port that was free and then was not is replaced.
const portAttempts = 3

// noteInterval is how often a loading engine is reported.
const noteInterval = 10 * time.Second

// Server is a running engine.
type Server struct {
	URL  string // http://127.0.0.1:PORT
	Port int

	cfg     Config
	process *child.Process
	watch   *watcher
	log     *os.File
	private *child.Scratch
	done    chan struct{}

	mu       sync.Mutex
	stopping bool
	err      error
}

// Start starts an engine and returns when it is ready. Ending ctx ends the
// attempt; afterwards the server lives until [Server.Stop]. Errors are an
// [*Error] that wraps [ErrExited] or [ErrNotReady], wrap [bundle.ErrInvalid]
// for a profile that cannot be rendered, or are ctx's cause. No process is
// left after an error.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		s, err := startOnce(ctx, cfg)
		if err == nil {
			return s, nil
		}
		// Between choosing a port and using it another program can take it.
		failure, ok := errors.AsType[*Error](err)
		if !ok || attempt == portAttempts || !strings.Contains(strings.ToLower(failure.Traceback), "address already in use") {
			return nil, err
		}
	}
}

// startOnce makes one attempt on one port.
func startOnce(ctx context.Context, cfg Config) (*Server, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, Port: port, URL: "http://" + net.JoinHostPort(loopback, strconv.Itoa(port)), done: make(chan struct{})}
	if err := s.spawn(ctx); err != nil {
		return nil, err
	}
	cfg.Events.Emit(bundle.Event{Kind: bundle.EventStarted, What: "engine " + cfg.name(), Reason: "log " + cfg.LogPath})
	if err := s.waitReady(ctx); err != nil {
		return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	s.watch.forget()
	cfg.Events.Emit(bundle.Event{Kind: bundle.EventDone, What: "engine " + cfg.name(), Reason: "ready at " + s.URL})
	return s, nil
}

// freePort asks the system for a port that is free now.
func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return 0, err
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil || !ok {
		return 0, fmt.Errorf("launch: no free port: %w", err)
	}
	return addr.Port, nil
}

// spawn makes the directories and the log and starts the process.
func (s *Server) spawn(ctx context.Context) (err error) {
	if s.private, err = child.NewScratch(s.cfg.ScratchDir, "metalrun-"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.private.Remove())
		}
	}()
	work := filepath.Join(s.private.Path, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	args, err := s.cfg.argv(loopback, s.Port)
	if err != nil {
		return err
	}
	env, err := s.cfg.environ(s.private.Path, loopback, s.Port)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.cfg.LogPath), 0o700); err != nil {
		return err
	}
	if err := os.Rename(s.cfg.LogPath, s.cfg.LogPath+PreviousLog); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.log, err = os.OpenFile(s.cfg.LogPath, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
		return err
	}
	s.watch = &watcher{file: s.log, profile: s.cfg.Profile, grown: time.Now()}
	// The engine writes to the file itself: its log is whole even if this
	// program dies, and no pipe is ever full.
	s.process, err = child.Start(context.WithoutCancel(ctx), child.Spec{
		Path: s.cfg.python(), Args: args, Env: env, Dir: work,
		Stdout: s.log, Stderr: s.log, Grace: s.cfg.Grace,
	})
	if err != nil {
		err = fmt.Errorf("launch: engine %s: %w", s.cfg.name(), err)
		fsatomic.CloseErr(&err, s.log)
		return err
	}
	go s.reap()
	return nil
}

// reap waits for the end, however it comes, ends what is left of the process
// group, and cleans up.
func (s *Server) reap() {
	waitErr := s.process.Wait()
	found, _ := s.watch.final() // an unreadable log leaves the exit status
	failure := s.failure(found, ErrExited)
	failure.setExit(waitErr)
	cleanErr := errors.Join(s.log.Close(), s.private.Remove())
	s.mu.Lock()
	if s.stopping {
		s.err = cleanErr
	} else {
		s.err = failure
	}
	s.mu.Unlock()
	close(s.done)
}

// failure builds the error from what the log says.
func (s *Server) failure(found finding, cause error) *Error {
	return &Error{
		Engine: s.cfg.name(), ExitCode: -1, Traceback: found.traceback,
		Advice: found.advice, LogPath: s.cfg.LogPath, Cause: cause,
	}
}

// Done is closed when the engine has ended and its directories are gone.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says, after Done, why the engine ended: an [*Error] if it ended by
// itself, nil after Stop. Before Done it is nil.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// RequestModel is the name under which requests must ask for the model.
func (s *Server) RequestModel() string { return s.cfg.RequestModel() }

// Stop ends the process group: TERM, then KILL after the grace time, and
// waits until all is gone. It may be called more than once. The error is that
// of the cleaning up, or ctx's cause when that ends first.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	select {
	case <-s.done: // it ended by itself; Err keeps saying why
		s.mu.Unlock()
		return nil
	default:
	}
	s.stopping = true
	s.mu.Unlock()
	go s.process.Stop()
	select {
	case <-s.done:
		return s.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// waitReady returns nil when the engine has answered with a token.
func (s *Server) waitReady(ctx context.Context) error {
	limit := time.Duration(s.cfg.Profile.Ready)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no token after %s: %w", limit, ErrNotReady))
	defer cancel()
	p := newProber(s.cfg, s.URL)
	answer := make(chan error, 1)
	go func() { answer <- p.run(ctx) }()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	noted := time.Now()
	for {
		select {
		case <-s.done:
			return s.Err()
		case err := <-answer:
			return s.judge(ctx, err)
		case <-tick.C:
		}
		found, err := s.poll()
		if err != nil {
			return err
		}
		if found.traceback != "" {
			if err := s.judgeTraceback(ctx, p, found); err != nil {
				return err
			}
		}
		if time.Since(noted) >= noteInterval {
			noted = time.Now()
			s.cfg.Events.Emit(bundle.Event{Kind: bundle.EventNote, What: "engine " + s.cfg.name(), Reason: strings.TrimSuffix("loading: "+found.last, ": ")})
		}
	}
}

// poll reads the log. One that is closed means that the engine ended just now,
// and why it did says more.
func (s *Server) poll() (finding, error) {
	found, err := s.watch.poll()
	if errors.Is(err, os.ErrClosed) {
		<-s.done
		return found, s.Err()
	}
	return found, err
}

// judge turns the prober's answer into the result of the start.
func (s *Server) judge(ctx context.Context, answer error) error {
	select {
	case <-s.done: // it ended while it was asked
		return s.Err()
	default:
	}
	found, err := s.poll()
	switch {
	case err != nil:
		return err
	case answer == nil && found.activated:
		return nil
	case answer == nil:
		return s.failure(found, fmt.Errorf("it answers, but its log never said %q: %w", s.cfg.Profile.Activated, ErrNotReady))
	case errors.Is(answer, ErrNotReady):
		return s.failure(found, answer)
	case ctx.Err() != nil:
		return answer // the caller gave up
	}
	return s.failure(found, fmt.Errorf("%w: %w", answer, ErrNotReady))
}

// judgeTraceback decides whether an engine that printed a traceback and did
// not end has failed: it says so on its health path, its port is taken, or it
// is silent. Some engines print one for an optional part and go on.
func (s *Server) judgeTraceback(ctx context.Context, p *prober, found finding) error {
	if !found.complete {
		return nil
	}
	taken := strings.Contains(strings.ToLower(lastLine(found.traceback)), "address already in use")
	switch {
	case p.status(ctx) >= 500:
		return s.failure(found, fmt.Errorf("it lives but its health path answers an error: %w", ErrNotReady))
	case taken:
		return s.failure(found, fmt.Errorf("port %d is taken: %w", s.Port, ErrNotReady))
	case time.Since(found.grown) > s.cfg.Quiet:
		return s.failure(found, fmt.Errorf("it is silent since a traceback: %w", ErrNotReady))
	}
	return nil
}
