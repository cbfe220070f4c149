// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ui"
)

// story is one of every kind of event.
func story() []bundle.Event {
	return []bundle.Event{
		{Kind: bundle.EventNote, Reason: "53 layers"},
		{Kind: bundle.EventSkipped, What: "old layer", Size: 10, Reason: "in the cache"},
		{Kind: bundle.EventStarted, What: "layer a", Size: 2_000_000},
		{Kind: bundle.EventProgress, What: "layer a", Offset: 1_000_000, Size: 2_000_000},
		{Kind: bundle.EventRetry, What: "layer a", Offset: 1_000_000, Size: 2_000_000, Attempt: 2, Reason: "connection reset"},
		{Kind: bundle.EventRetry, What: "registry.test", Attempt: 3, Reason: "503 Service Unavailable"},
		{Kind: bundle.EventDone, What: "layer a", Size: 2_000_000},
		{Kind: bundle.EventDone, What: "probe interpreter"},
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	retries := "  layer a: connection reset; attempt 2 at 1.0 MB of 2.0 MB\n  registry.test: 503 Service Unavailable; attempt 3\n"
	for name, tt := range map[string]struct {
		mode ui.Mode
		want string
	}{
		"plain": {ui.Plain, "53 layers\n" + retries + "  layer a  2.0 MB\n  probe interpreter\n"},
		"quiet": {ui.Quiet, "53 layers\n" + retries},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			r := ui.New(&b, tt.mode, nil)
			for _, e := range story() {
				r.Event(e)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNDJSON(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r := ui.New(&b, ui.NDJSON, nil)
	for _, e := range story() {
		r.Event(e)
	}
	var got []bundle.Event
	for line := range strings.Lines(b.String()) {
		var e bundle.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, e)
	}
	if diff := cmp.Diff(story(), got); diff != "" {
		t.Error(diff)
	}
}

// Text from a registry or a package must not move the cursor.
func TestClean(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r := ui.New(&b, ui.Plain, nil)
	r.Event(bundle.Event{Kind: bundle.EventDone, What: "a\x1b[2J\nb"})
	r.Event(bundle.Event{Kind: bundle.EventNote, Reason: "two\nlines\r"})
	if want := "  a\uFFFD[2J\uFFFDb\ntwo\nlines\uFFFD\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r := ui.New(&b, ui.Plain, nil)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			what := fmt.Sprintf("item %02d", i)
			r.Event(bundle.Event{Kind: bundle.EventStarted, What: what})
			r.Event(bundle.Event{Kind: bundle.EventDone, What: what, Size: 1})
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for _, l := range lines {
		if !strings.HasPrefix(l, "  item ") || !strings.HasSuffix(l, "  1 B") {
			t.Errorf("line %q", l)
		}
	}
	if len(lines) != 50 {
		t.Errorf("%d lines, want 50", len(lines))
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{-1: "0 B", 0: "0 B", 999: "999 B", 1000: "1.0 kB", 2_310_000_000: "2.3 GB"} {
		if got := ui.Bytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}
