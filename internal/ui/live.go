// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// refresh is the time between two frames.
const refresh = 100 * time.Millisecond

// live draws frames at the bottom of a terminal. Its methods are called with
// the renderer's lock held.
type live struct {
	w     io.Writer
	size  screen
	shown []int         // columns of each line on the screen
	stop  chan struct{} // ends the clock; nil = it does not run
}

func newLive(w io.Writer, size screen) *live { return &live{w: w, size: size} }

// start lets frames appear from now on, ten in a second, as long as something is
// under way.
func (l *live) start(r *Renderer) {
	if l.stop != nil || r.state.idle() {
		return
	}
	stop := make(chan struct{})
	l.stop = stop
	go func() {
		tick := time.NewTicker(refresh)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				r.tick(stop)
			}
		}
	}()
}

// tick draws the next frame of the clock that stop ends.
func (r *Renderer) tick(stop chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live.stop != stop { // ended while we waited
		return
	}
	now := r.now()
	r.state.sample(now)
	r.live.draw("", &r.state, now)
}

// print writes text above the frame. With nothing under way the frame goes, and
// the clock stops.
func (l *live) print(r *Renderer, text string) {
	if r.state.idle() && l.stop != nil {
		close(l.stop)
		l.stop = nil
	}
	if len(l.shown) == 0 { // no frame yet: the first one waits for the clock
		if text != "" {
			_, _ = io.WriteString(l.w, text) // a stderr that is gone leaves nobody to tell
		}
		l.start(r)
		return
	}
	l.draw(text, &r.state, r.now())
}

// draw replaces the frame on the screen by text and the next frame, in one write.
func (l *live) draw(text string, s *state, now time.Time) {
	columns, rows := l.size()
	var b strings.Builder
	if up := l.height(columns, rows); up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", up)
	}
	b.WriteString(text)
	l.shown = l.shown[:0]
	for _, text := range frame(s, columns, rows, now) {
		l.shown = append(l.shown, textWidth(text))
		b.WriteString(text + "\n")
	}
	if b.Len() > 0 {
		_, _ = io.WriteString(l.w, b.String()) // as in print
	}
}

// height is the number of rows that the frame takes now: on a screen that became
// narrower its lines are broken.
func (l *live) height(columns, rows int) (n int) {
	for _, w := range l.shown {
		n += max((w+columns-1)/columns, 1)
	}
	return min(n, rows-1)
}
