// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/metalpack/metalpack/bundle"
)

// Caps of what is kept of a log; the file itself is whole.
const (
	maxLine           = 64 << 10
	maxTracebackLines = 300
	maxPoll           = 16 << 20 // bytes that one look takes in: an engine may write faster than anybody reads
)

// watcher reads a log as it grows and keeps what matters of it.
type watcher struct {
	file    *os.File // only read
	profile bundle.Profile

	mu        sync.Mutex
	offset    int64
	partial   []byte
	activated bool
	advice    string
	last      string    // the newest line that is not a health request
	grown     time.Time // when it came
	traceback traceback
}

// finding is what a watcher knows at one moment.
type finding struct {
	activated bool
	advice    string
	last      string
	grown     time.Time
	traceback string
	complete  bool // the traceback has its last line
}

// poll reads what is new, or the first of it, and returns the state.
func (w *watcher) poll() (finding, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	buffer := make([]byte, 32<<10)
	for end := w.offset + maxPoll; w.offset < end; {
		n, err := w.file.ReadAt(buffer, w.offset)
		w.offset += int64(n)
		w.feed(buffer[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return finding{}, err
		}
	}
	return w.found(), nil
}

// found is what is known now. The caller has the lock.
func (w *watcher) found() finding {
	return finding{
		activated: w.activated || w.profile.Activated == "",
		advice:    w.advice,
		last:      w.last,
		grown:     w.grown,
		traceback: strings.Join(w.traceback.lines, "\n"),
		complete:  w.traceback.done,
	}
}

// final is the last poll of a log that nobody writes to any more: its last line
// counts without an end too. If more is new than one look takes in, it looks at
// the end.
func (w *watcher) final() (finding, error) {
	info, err := w.file.Stat()
	if err != nil {
		return finding{}, err
	}
	w.mu.Lock()
	if end := info.Size() - maxPoll; end > w.offset {
		w.offset, w.partial = end, nil
	}
	w.mu.Unlock()
	found, err := w.poll()
	if err != nil {
		return found, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.partial) > 0 {
		w.line(string(w.partial))
		w.partial = nil
	}
	return w.found(), nil
}

// forget drops traceback and advice: what a ready engine said before is not
// why it fails later.
func (w *watcher) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.traceback, w.advice = traceback{}, ""
}

// feed splits data into lines.
func (w *watcher) feed(data []byte) {
	for len(data) > 0 {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			if len(w.partial) < maxLine {
				w.partial = append(w.partial, data...)
			}
			return
		}
		w.line(strings.TrimRight(string(w.partial)+string(data[:i]), "\r"))
		w.partial, data = w.partial[:0], data[i+1:]
	}
}

// line looks at one line of the log.
func (w *watcher) line(s string) {
	if w.profile.Activated != "" && strings.Contains(s, w.profile.Activated) {
		w.activated = true
	}
	for _, f := range w.profile.Failures {
		if w.advice == "" && f.Line != "" && strings.Contains(s, f.Line) {
			w.advice = f.Hint
		}
	}
	w.traceback.add(s)
	// Our own polling must not look like progress.
	if strings.TrimSpace(s) != "" && !strings.Contains(s, "GET "+w.profile.Health) {
		w.last, w.grown = s, time.Now()
	}
}

// tracebackMark begins every traceback of Python.
const tracebackMark = "Traceback (most recent call last):"

// traceback collects the first traceback of a log whose lines may carry a
// prefix, as loggers of several processes write it, and may be mixed with
// lines of others.
type traceback struct {
	prefix string // shape of the text before the mark
	lines  []string
	done   bool
}

// add looks at one line.
func (t *traceback) add(s string) {
	if t.done {
		return
	}
	if len(t.lines) == 0 {
		if i := strings.Index(s, tracebackMark); i >= 0 {
			t.prefix = shape(s[:i])
			if strings.HasSuffix(t.prefix, "Exception Group ") {
				t.prefix = ""
			}
			t.lines = []string{s[i:]}
		}
		return
	}
	n := len(t.prefix)
	if len(s) < n || shape(s[:n]) != t.prefix {
		return // another process's line
	}
	body := s[n:]
	t.lines = append(t.lines, body)
	// The frames are indented; the first line that is not is the exception.
	t.done = body != "" && body[0] != ' ' && body[0] != '\t' || len(t.lines) == maxTracebackLines
}

// shape is a prefix with its numbers made equal: times and line numbers differ
// between the lines of one traceback.
func shape(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '0'
		}
		return r
	}, s)
}
