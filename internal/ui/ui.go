// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package ui renders events for people and programs: live lines on a terminal,
// plain lines in a CI log, NDJSON on request. It writes to stderr only; results
// are the command's own business.
//
// Start with [New] and give the method value [Renderer.Event] to libraries. One
// renderer serves a whole command, because a terminal has one last line:
// [Renderer.Clear] takes the live lines away before anything else is printed
// there, and when the command ends.
//
// # How a terminal is drawn
//
// What is under way has one line each, with bytes, rate and time left, and a
// spinner where nothing reports bytes; below them stands the sum. What is
// finished, tried again or noted is printed above and scrolls away. A frame is a
// pure function of the items, the clock and the size of the screen, which is
// asked for with every frame; it never has more lines than the screen, nor longer
// ones. Frames are written whole, at most ten in a second, and erased at once
// when nothing is under way, so that the last line is clean whenever the command
// prints or ends.
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

// Renderer writes events. It is safe for concurrent use.
type Renderer struct {
	mu    sync.Mutex
	w     io.Writer
	mode  Mode
	now   func() time.Time
	state state
	live  *live // nil unless mode is Terminal
}

// New returns a renderer that writes to w. Mode Auto is decided here, by w and
// the environment.
func New(w io.Writer, mode Mode, getenv func(string) string) *Renderer {
	if mode == Auto {
		mode = automatic(w, getenv)
	}
	r := &Renderer{w: w, mode: mode, now: time.Now}
	if mode == Terminal {
		r.live = newLive(w, screenOf(w))
	}
	return r
}

// Mode returns how events are rendered, never Auto.
func (r *Renderer) Mode() Mode { return r.mode }

// Expect announces how many items are coming and their bytes, so that the sum
// can tell what is left.
func (r *Renderer) Expect(items int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.total = total{expected: items, size: bytes}
}

// Clear takes the live lines away, forgets what was under way, and leaves the
// cursor at the beginning of an empty line. Later events begin anew.
func (r *Renderer) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = state{}
	if r.live != nil {
		r.live.print(r, "")
	}
}

// Event renders one event; its method value is a [bundle.EventFunc].
func (r *Renderer) Event(e bundle.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mode == NDJSON {
		if data, err := json.Marshal(e); err == nil {
			r.print(string(data) + "\n")
		}
		return
	}
	text := r.text(e)
	r.state.apply(e, r.now())
	switch {
	case r.live == nil:
		r.print(text)
	case text != "" || r.state.idle():
		r.live.print(r, text)
	default:
		r.live.start(r)
	}
}

// text is what an event leaves on the screen for good, "" for nothing.
func (r *Renderer) text(e bundle.Event) string {
	switch e.Kind {
	case bundle.EventRetry:
		at := ""
		if e.Size > 0 {
			at = fmt.Sprintf(" at %s of %s", Bytes(e.Offset), Bytes(e.Size))
		}
		return fmt.Sprintf("  %s: %s; attempt %d%s\n", line(e.What), line(e.Reason), e.Attempt, at)
	case bundle.EventNote:
		return edge.Clean(e.Reason) + "\n"
	case bundle.EventDone:
		if r.mode != Quiet {
			return fmt.Sprintf("  %s%s\n", line(e.What), r.speed(e))
		}
	case bundle.EventStarted, bundle.EventSkipped, bundle.EventProgress:
	}
	return ""
}

// line makes text from outside one line that is safe for a terminal.
func line(s string) string {
	return edge.Clean(strings.NewReplacer("\n", "\uFFFD", "\t", " ").Replace(s))
}

// print writes text. A stderr that is gone leaves nobody to tell.
func (r *Renderer) print(text string) {
	if text != "" {
		_, _ = io.WriteString(r.w, text)
	}
}

// speed tells size and rate of a finished item.
func (r *Renderer) speed(e bundle.Event) string {
	if e.Size == 0 {
		return ""
	}
	text := "  " + Bytes(e.Size)
	if i := r.state.find(e.What); i != nil {
		if s := r.now().Sub(i.started).Seconds(); s >= 0.1 {
			text += "  " + rate(float64(e.Size-i.from)/s)
		}
	}
	return text
}

// rate prints bytes per second.
func rate(perSecond float64) string { return Bytes(int64(perSecond)) + "/s" }

// Bytes prints a number of bytes in units of 1000.
func Bytes(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }
