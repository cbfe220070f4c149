// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

var epoch = time.Unix(1_000_000, 0)

// scene is a state that events lead to, one second apart, with its meters read
// after each.
func scene(events ...bundle.Event) (*state, time.Time) {
	s, now := new(state), epoch
	for _, e := range events {
		now = now.Add(time.Second)
		s.apply(e, now)
		s.sample(now)
	}
	return s, now
}

func started(what string, from, size int64) bundle.Event {
	return bundle.Event{Kind: bundle.EventStarted, What: what, Offset: from, Size: size}
}

func moved(what string, n int64) bundle.Event {
	return bundle.Event{Kind: bundle.EventProgress, What: what, Offset: n}
}

func done(what string, size int64) bundle.Event {
	return bundle.Event{Kind: bundle.EventDone, What: what, Size: size}
}

func TestFrame(t *testing.T) {
	t.Parallel()
	const torch, long = "torch-2.9.0-cp312-none-macosx_11_0_arm64.whl", "opentelemetry_semantic_conventions_ai-0.4.13-cp312-cp312-macosx_15_0_arm64.whl"
	two := []bundle.Event{started(torch, 0, 62_000_000), started(long, 0, 4_000_000), done("other", 1000), moved(torch, 31_000_000), moved(long, 4_000_000)}
	for name, tt := range map[string]struct {
		events        []bundle.Event
		columns, rows int
		want          []string
	}{
		"nothing": {nil, 80, 24, nil},
		"one": {[]bundle.Event{started("layer a", 0, 4_000_000), moved("layer a", 1_000_000)}, 80, 24, []string{
			"  layer a                         25%  1.0 MB of 4.0 MB   1.0 MB/s      3s left",
		}},
		"size not known": {[]bundle.Event{started("layer a", 0, 0), moved("layer a", 1_000_000)}, 60, 24, []string{
			"  layer a                                 1.0 MB   1.0 MB/s",
		}},
		"nobody reports bytes": {[]bundle.Event{started("layer a", 0, 4_000_000), {Kind: bundle.EventNote}, {Kind: bundle.EventNote}}, 80, 24, []string{
			"  layer a                           |            4.0 MB                      2s",
		}},
		"resumed": {[]bundle.Event{started("x", 3_000_000, 4_000_000), moved("x", 3_500_000)}, 80, 24, []string{
			"  x                               87%  3.5 MB of 4.0 MB   500 kB/s      1s left",
		}},
		"several": {two, 90, 24, []string{
			"  torch-2.9.0-cp312-…acosx_11_0_arm64.whl   50%    31 MB of 62 MB   7.8 MB/s      4s left",
			"  opentelemetry_sema…acosx_15_0_arm64.whl  100%  4.0 MB of 4.0 MB   1.3 MB/s",
			"1 done, 2 under way                         53%    35 MB of 66 MB   8.8 MB/s      4s left",
		}},
		"narrow": {two, 40, 24, []string{
			"  torch-2.9.0-cp…x_11_0_arm64.whl   50%",
			"  opentelemetry_…x_15_0_arm64.whl  100%",
			"1 done, 2 under way                 53%",
		}},
		"one column": {two, 1, 24, []string{"", "", ""}},
		"few rows":   {two, 60, 2, []string{"1 done, 2 under way, 2 of them not shown                53%"}},
		"one row":    {two, 60, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, now := scene(tt.events...)
			got := frame(s, tt.columns, tt.rows, now)
			for i := range got {
				if n := textWidth(got[i]); n >= tt.columns && tt.columns > 1 {
					t.Errorf("%q: %d columns on a screen of %d", got[i], n, tt.columns)
				}
				got[i] = strings.TrimRight(got[i], " ")
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// Whatever the screen, a frame fits it.
func TestFrameFits(t *testing.T) {
	t.Parallel()
	var events []bundle.Event
	for i := range 60 {
		what := fmt.Sprintf("wheel %02d 模型/%s", i, strings.Repeat("x\u0301y", i))
		events = append(events, started(what, 0, int64(i)*1e9), moved(what, int64(i)*5e8))
	}
	s, now := scene(events...)
	s.total.expected = 1000
	for columns := 1; columns < 200; columns += 11 {
		for _, rows := range []int{1, 2, 3, 5, 24, 50} {
			lines := frame(s, columns, rows, now)
			if len(lines) >= rows && rows > 1 || len(lines) > maxRows {
				t.Errorf("%dx%d: %d lines", columns, rows, len(lines))
			}
			for _, l := range lines {
				if textWidth(l) >= columns {
					t.Errorf("%dx%d: %d columns: %q", columns, rows, textWidth(l), l)
				}
			}
		}
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	var m meter
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	for _, tt := range []struct {
		ms   int
		n    int64
		want float64
	}{
		{0, 100, 0},
		{50, 200, 0}, // too early
		{1000, 1100, 1000},
		{6000, 1100, 0}, // a stall shows after the window
		{7000, 100, 0},  // begins anew
		{7500, 600, 1000},
	} {
		m.add(at(tt.ms), tt.n)
		if got := m.rate(); got != tt.want {
			t.Errorf("after %d ms: %v bytes/s, want %v", tt.ms, got, tt.want)
		}
	}
}

// Layers tell nothing before they are done: the sum has the average, without what
// was in the cache.
func TestAverage(t *testing.T) {
	t.Parallel()
	skipped := bundle.Event{Kind: bundle.EventSkipped, What: "cached", Size: 50_000_000}
	s, now := scene(skipped, started("a", 0, 10_000_000), started("b", 0, 40_000_000), done("a", 10_000_000))
	if got := s.rate(now); got != 5_000_000 {
		t.Errorf("got %v bytes/s", got)
	}
	if got := s.rate(s.total.started); got != 0 {
		t.Errorf("got %v bytes/s at the beginning", got)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{0: "0s", 59400 * time.Millisecond: "59s", 59500 * time.Millisecond: "1m00s", 245 * time.Second: "4m05s", 7380 * time.Second: "2h03m"} {
		if got := clock(d); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
}

func TestExpected(t *testing.T) {
	t.Parallel()
	r := New(nil, Quiet, nil)
	r.Expect(3, 40)
	r.Event(bundle.Event{Kind: bundle.EventSkipped, What: "a", Size: 20})
	r.Event(started("b", 0, 10))
	r.Event(moved("b", 5))
	if got, want := r.state.totalLine(50, 0, epoch), "1 of 3 done, 1 under way     62%      25 B of 40 B"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	r.Event(done("b", 10))
	r.Event(done("c", 10))
	if d := cmp.Diff(total{}, r.state.total, cmp.AllowUnexported(total{}, meter{})); d != "" {
		t.Errorf("the next phase does not begin anew: %s", d)
	}
}
