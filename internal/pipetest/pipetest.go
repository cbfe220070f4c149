// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package pipetest owns HTTP without a network, for tests of what time does to
// it: in a bubble of package testing/synctest time passes only when both sides
// wait for it, so that no machine is too slow for a time limit. What runs
// goroutines of its own, as a registry does, is made outside of the bubble.
package pipetest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
)

// Client serves h on connections in memory until the test ends, and returns the
// client's side: whatever host it asks, h answers.
func Client(tb testing.TB, h http.Handler) *http.Client {
	tb.Helper()
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	var open sync.WaitGroup
	server := &http.Server{Handler: h, ConnState: func(_ net.Conn, s http.ConnState) { //nolint:gosec // G112: its one client is the test
		switch s { //nolint:exhaustive // the others are between them
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Done()
		}
	}}
	open.Go(func() { _ = server.Serve(l) }) // until it is closed
	transport := &http.Transport{DialContext: l.dial, DisableCompression: true}
	tb.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close() // of memory
		open.Wait()        // a bubble ends when all in it have
	})
	return &http.Client{Transport: transport}
}

// pipes is a listener without a network.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept implements net.Listener.
func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "pipe"} }
