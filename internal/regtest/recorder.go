// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package regtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/metalpack/metalpack/bundle"
)

// Recorder collects events and passes time without waiting. Its fields are read
// when the work is done.
type Recorder struct {
	Events []bundle.Event
	Waits  []time.Duration

	mu sync.Mutex
}

// Emit is a [bundle.EventFunc].
func (r *Recorder) Emit(e bundle.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Events = append(r.Events, e)
}

// Wait notes d and returns at once.
func (r *Recorder) Wait(ctx context.Context, d time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Waits = append(r.Waits, d)
	return ctx.Err()
}

// Retries counts the events of that kind.
func (r *Recorder) Retries() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, e := range r.Events {
		if e.Kind == bundle.EventRetry {
			n++
		}
	}
	return n
}

// String is all that a user could see of the events.
func (r *Recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("%+v", r.Events)
}

// Noise is n bytes that no other offset resembles, the same every time.
func Noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	return data
}
