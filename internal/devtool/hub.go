// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/metalpack/metalpack/internal/hubtest"
)

// serveHub serves the model in a flat directory as a hub until ctx is done: weights
// and tokenizer in LFS, the rest in git. rate is how many bytes a second its
// storage sends over all connections; 0 = as many as it can.
func serveHub(ctx context.Context, name, dir string, rate int64) error {
	host := &program{}
	defer host.end()
	hub := hubtest.New(host)
	if rate > 0 {
		hub.Storage.Next = &link{next: hub.Storage.Next, rate: rate}
	}
	model := hubtest.Repo{Name: name}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		host.Cleanup(func() { _ = f.Close() }) // it was only read
		info, err := f.Stat()
		if err != nil {
			return err
		}
		lfs := filepath.Ext(e.Name()) == ".safetensors" || e.Name() == "tokenizer.json"
		model.Files = append(model.Files, hubtest.File{Path: e.Name(), Content: content{f, info.Size()}, LFS: lfs})
	}
	hub.Add(host, model)
	fmt.Println(hub.Endpoint)
	<-ctx.Done()
	return nil
}

// content is a file of known size.
type content struct {
	*os.File
	size int64
}

// Size implements [hubtest.Content].
func (c content) Size() int64 { return c.size }

// program stands for the test that a hub wants to end with.
type program struct {
	testing.TB
	ends []func()
}

// Helper implements [testing.TB].
func (p *program) Helper() {}

// Cleanup implements [testing.TB].
func (p *program) Cleanup(f func()) { p.ends = append(p.ends, f) }

// Fatal implements [testing.TB].
func (p *program) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func (p *program) end() {
	for _, f := range slices.Backward(p.ends) {
		f()
	}
}

// link is a line of so many bytes a second, shared by all answers.
type link struct {
	next http.Handler
	rate int64

	mu   sync.Mutex
	free time.Time // when what was sent so far has passed
}

// slack is how far a sender may lag behind the line and catch up.
const slack = 50 * time.Millisecond

// ServeHTTP implements http.Handler.
func (l *link) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.next.ServeHTTP(&onLink{w, l}, r)
}

// pass waits until n more bytes have passed.
func (l *link) pass(n int) {
	l.mu.Lock()
	if oldest := time.Now().Add(-slack); l.free.Before(oldest) {
		l.free = oldest
	}
	l.free = l.free.Add(time.Duration(int64(n) * int64(time.Second) / l.rate))
	until := l.free
	l.mu.Unlock()
	time.Sleep(time.Until(until))
}

type onLink struct {
	http.ResponseWriter
	link *link
}

// Write implements io.Writer.
func (o *onLink) Write(p []byte) (int, error) {
	o.link.pass(len(p))
	return o.ResponseWriter.Write(p)
}
