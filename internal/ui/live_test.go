// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

// emulator is a terminal that knows what this package writes: text, line ends,
// cursor up and erase below.
type emulator struct {
	columns  int
	lines    []string // of the whole session
	row, col int
}

// Write implements io.Writer.
func (e *emulator) Write(p []byte) (int, error) {
	rest := string(p)
	for rest != "" {
		if escape, ok := strings.CutPrefix(rest, "\x1b["); ok {
			n, tail, _ := strings.Cut(escape, "A\r\x1b[J")
			up, err := strconv.Atoi(n)
			if err != nil {
				return 0, fmt.Errorf("escape sequence %q", n)
			}
			e.row, e.col = max(e.row-up, 0), 0
			e.lines = e.lines[:min(e.row, len(e.lines))]
			rest = tail
			continue
		}
		r, size := utf8.DecodeRuneInString(rest)
		rest = rest[size:]
		e.put(r)
	}
	return len(p), nil
}

func (e *emulator) put(r rune) {
	switch {
	case r == '\n':
		e.at()
		e.row, e.col = e.row+1, 0
		return
	case r == '\r':
		e.col = 0
		return
	case e.col >= e.columns:
		e.row, e.col = e.row+1, 0
	}
	e.at()
	e.lines[e.row] += string(r)
	e.col += runeWidth(r)
}

func (e *emulator) at() {
	for len(e.lines) <= e.row {
		e.lines = append(e.lines, "")
	}
}

// text is what stands on the screen and above, without blanks at line ends.
func (e *emulator) text() string {
	var b strings.Builder
	for _, l := range e.lines {
		b.WriteString(strings.TrimRight(l, " ") + "\n")
	}
	return b.String()
}

// newTest is a renderer on an emulator whose clock the test moves, in a bubble where
// no other does.
func newTest(columns, rows int) (*Renderer, *emulator, func()) {
	em := &emulator{columns: columns}
	r := &Renderer{w: em, mode: Terminal, now: func() time.Time { return epoch }}
	r.live = newLive(em, func() (int, int) { return em.columns, rows })
	return r, em, func() { r.tick(r.live.stop) }
}

func TestLive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, em, tick := newTest(60, 24)
		see := func(what, want string) {
			t.Helper()
			if d := cmp.Diff(want, em.text()); d != "" {
				t.Errorf("%s: %s", what, d)
			}
		}
		r.Event(started("a", 0, 4_000_000))
		see("no frame before the first tick", "")
		r.Event(moved("a", 1_000_000))
		tick()
		see("one item", "  a           25%  1.0 MB of 4.0 MB      0 B/s\n")
		r.Event(bundle.Event{Kind: bundle.EventNote, Reason: "a note"})
		see("a note above", "a note\n  a           25%  1.0 MB of 4.0 MB      0 B/s\n")
		r.Event(started("b", 0, 0))
		r.Event(bundle.Event{Kind: bundle.EventRetry, What: "a", Attempt: 2, Reason: "cut"})
		see("a retry above", "a note\n  a: cut; attempt 2\n  a           25%  1.0 MB of 4.0 MB      0 B/s\n  b             |                                        0s\n0 done, 2 under way        25%  1.0 MB of 4.0 MB      0 B/s\n")
		r.Event(done("a", 4_000_000))
		see("a is done", "a note\n  a: cut; attempt 2\n  a  4.0 MB\n  b             |                                        0s\n1 done, 1 under way       100%  4.0 MB of 4.0 MB      0 B/s\n")
		r.Event(done("b", 0))
		see("all is done", "a note\n  a: cut; attempt 2\n  a  4.0 MB\n  b\n")
		if r.live.stop != nil || em.col != 0 {
			t.Errorf("the clock runs still, or the cursor stands in column %d", em.col)
		}
	})
}

// On a screen that became narrower the frame is erased whole.
func TestLiveResize(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, em, tick := newTest(80, 24)
		r.Event(started("a", 0, 4_000_000))
		r.Event(moved("a", 1_000_000))
		tick()
		wide := em.lines[0]
		em.columns = 30 // the terminal breaks the line
		em.lines = []string{wide[:30], wide[30:60], wide[60:]}
		em.row = 3
		tick()
		if d := cmp.Diff("  a     25%  1.0 MB of 4.0 MB\n", em.text()); d != "" {
			t.Error(d)
		}
		r.Clear()
		if em.text() != "" || em.row != 0 {
			t.Errorf("left on the screen: %q", em.text())
		}
	})
}

// Clear in the middle of things, as after Ctrl-C, leaves what was printed and
// nothing else.
func TestLiveClear(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, em, tick := newTest(80, 24)
		r.Event(bundle.Event{Kind: bundle.EventNote, Reason: "begin"})
		for i := range 60 {
			what := fmt.Sprintf("item %d %s", i, strings.Repeat("long", 40))
			r.Event(started(what, 0, 100))
			r.Event(moved(what, 50))
		}
		tick()
		if n := len(em.lines); n != 1+maxRows {
			t.Errorf("%d lines, want %d", n, 1+maxRows)
		}
		_, _ = em.Write([]byte("^C"))
		r.Clear()
		_, _ = em.Write([]byte("error: interrupted\n"))
		if d := cmp.Diff("begin\nerror: interrupted\n", em.text()); d != "" {
			t.Error(d)
		}
		r.Clear() // again is harmless
	})
}

// The real thing: a pseudo-terminal, 60 items from many goroutines, a resize,
// errors in between. The last line is clean afterwards.
func TestPseudoTerminal(t *testing.T) {
	t.Parallel()
	screen, tty, err := pty.Open()
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = screen.Close() }()
	size := func(columns uint16) {
		if err := pty.Setsize(tty, &pty.Winsize{Cols: columns, Rows: 24}); err != nil {
			t.Fatal(err)
		}
	}
	size(100)
	var out bytes.Buffer
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = out.ReadFrom(screen) }) // EIO ends it, when tty closes
	r := New(tty, Auto, func(key string) string { return map[string]string{"TERM": "xterm"}[key] })
	if r.Mode() != Terminal {
		t.Fatalf("mode %s on a terminal", r.Mode())
	}
	var work sync.WaitGroup
	for i := range 60 {
		work.Go(func() {
			what := fmt.Sprintf("item %02d", i)
			r.Event(started(what, 0, 1<<20))
			for n := range int64(20) {
				r.Event(moved(what, n<<15))
			}
			if i%10 == 0 {
				r.Event(bundle.Event{Kind: bundle.EventNote, Reason: "note " + what})
			}
			r.mu.Lock() // a frame for each, whatever the clock does
			r.live.draw("", &r.state, epoch)
			r.mu.Unlock()
			r.Event(done(what, 1<<20))
		})
	}
	work.Wait()
	r.Event(started("never done", 0, 0))
	r.mu.Lock()
	r.live.draw("", &r.state, epoch)
	r.mu.Unlock()
	r.Clear()
	if _, err := tty.WriteString("metalpack: error: interrupted\n"); err != nil {
		t.Fatal(err)
	}
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	reader.Wait()
	em := &emulator{columns: 100}
	if _, err := em.Write(bytes.ReplaceAll(out.Bytes(), []byte("\r\n"), []byte("\n"))); err != nil {
		t.Fatal(err)
	}
	if len(em.lines) != 60+6+1 || em.lines[66] != "metalpack: error: interrupted" || em.col != 0 {
		t.Errorf("left on the screen:\n%s", em.text())
	}
}

func TestAutomatic(t *testing.T) {
	t.Parallel()
	screen, tty, err := pty.Open()
	if err != nil {
		t.Skip(err)
	}
	defer func() { _, _ = screen.Close(), tty.Close() }()
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for name, tt := range map[string]struct {
		file *os.File
		env  map[string]string
		want Mode
	}{
		"a terminal": {tty, map[string]string{"TERM": "xterm"}, Terminal},
		"no colour":  {tty, map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, Plain},
		"in CI":      {tty, map[string]string{"TERM": "xterm", "CI": "true"}, Plain},
		"dumb":       {tty, map[string]string{"TERM": "dumb"}, Plain},
		"a file":     {file, map[string]string{"TERM": "xterm"}, Plain},
	} {
		if got := New(tt.file, Auto, func(k string) string { return tt.env[k] }).Mode(); got != tt.want {
			t.Errorf("%s: mode %s, want %s", name, got, tt.want)
		}
	}
}

func TestParseMode(t *testing.T) {
	t.Parallel()
	for _, m := range []Mode{Auto, Terminal, Plain, Quiet, NDJSON} {
		if got, err := ParseMode(m.String()); err != nil || got != m {
			t.Errorf("%s: got %s, %v", m, got, err)
		}
	}
	if _, err := ParseMode("loud"); err == nil || err.Error() != `--progress "loud": want auto, tty, plain, quiet, json` {
		t.Errorf("got %v", err)
	}
}
