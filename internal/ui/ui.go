// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package ui renders events for people and programs: lines on a terminal or in
// a CI log, NDJSON on request. It writes to stderr only; results are the
// command's own business.
package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
)

// Mode says how events are rendered.
type Mode int

// The modes.
const (
	Plain  Mode = iota // a line per finished item
	Quiet              // notes and retries only
	NDJSON             // one JSON object per event
)

// Renderer writes events. It is safe for concurrent use.
type Renderer struct {
	mu      sync.Mutex
	w       io.Writer
	mode    Mode
	started map[string]time.Time
}

// New returns a renderer that writes to w.
func New(w io.Writer, mode Mode) *Renderer {
	return &Renderer{w: w, mode: mode, started: map[string]time.Time{}}
}

// Event renders one event; its method value is a [bundle.EventFunc].
func (r *Renderer) Event(e bundle.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mode == NDJSON {
		data, err := json.Marshal(e)
		if err == nil {
			r.printf("%s\n", data)
		}
		return
	}
	switch e.Kind {
	case bundle.EventStarted:
		r.started[e.What] = time.Now()
	case bundle.EventRetry:
		at := ""
		if e.Size > 0 {
			at = fmt.Sprintf(" at %s of %s", Bytes(e.Offset), Bytes(e.Size))
		}
		r.printf("  %s: %s; attempt %d%s\n", line(e.What), line(e.Reason), e.Attempt, at)
	case bundle.EventNote:
		r.printf("%s\n", edge.Clean(e.Reason))
	case bundle.EventDone:
		if r.mode == Plain {
			r.printf("  %s%s\n", line(e.What), r.rate(e))
		}
		delete(r.started, e.What)
	case bundle.EventSkipped, bundle.EventProgress:
	}
}

// line makes text from outside one line that is safe for a terminal.
func line(s string) string {
	return edge.Clean(strings.NewReplacer("\n", "\uFFFD", "\t", " ").Replace(s))
}

// printf writes a line. A stderr that is gone leaves nobody to tell.
func (r *Renderer) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(r.w, format, args...)
}

// rate tells size and speed of a finished item.
func (r *Renderer) rate(e bundle.Event) string {
	if e.Size == 0 {
		return ""
	}
	text := "  " + Bytes(e.Size)
	if t, ok := r.started[e.What]; ok {
		if s := time.Since(t).Seconds(); s >= 0.1 {
			text += fmt.Sprintf("  %s/s", Bytes(int64(float64(e.Size)/s)))
		}
	}
	return text
}

// Bytes prints a number of bytes in units of 1000.
func Bytes(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }
