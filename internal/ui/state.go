// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"slices"
	"time"

	"github.com/metalpack/metalpack/bundle"
)

// state is what is under way, and the sum of what belongs together.
type state struct {
	items []*item // in the order they began
	total total
}

// item is one thing under way.
type item struct {
	what    string
	size    int64 // bytes; 0 = not known
	from    int64 // bytes that were there when it began
	offset  int64 // bytes that are there
	reports bool  // progress came: its bytes can be shown
	started time.Time
	meter   meter
}

// total sums up items from the first that begins to the last that ends.
type total struct {
	expected int   // items announced; 0 = not known
	size     int64 // bytes announced
	began    int   // items
	done     int   // items, with those that had nothing to do
	known    int64 // bytes of all items so far
	moved    int64 // bytes of items that are done
	found    int64 // bytes of those that had nothing to do
	started  time.Time
	meter    meter
}

// apply takes an event into account.
func (s *state) apply(e bundle.Event, now time.Time) {
	i := s.find(e.What)
	switch e.Kind {
	case bundle.EventStarted:
		if i == nil {
			if s.total.began == 0 {
				s.total.started = now
			}
			s.total.began++
			s.total.known += e.Size
			s.items = append(s.items, &item{what: e.What, size: e.Size, from: e.Offset, offset: e.Offset, started: now})
		}
	case bundle.EventProgress:
		if i != nil {
			i.offset, i.reports = e.Offset, true
		}
	case bundle.EventDone, bundle.EventSkipped:
		s.total.done++
		s.total.moved += e.Size
		if e.Kind == bundle.EventSkipped {
			s.total.found += e.Size
		}
		if i == nil {
			s.total.known += e.Size
		} else {
			s.items = slices.DeleteFunc(s.items, func(x *item) bool { return x == i })
		}
		if s.idle() && s.total.done >= s.total.expected {
			s.total = total{}
		}
	case bundle.EventRetry, bundle.EventNote:
	}
}

func (s *state) find(what string) *item {
	for _, i := range s.items {
		if i.what == what {
			return i
		}
	}
	return nil
}

// idle reports whether nothing is under way.
func (s *state) idle() bool { return len(s.items) == 0 }

// sample reads all meters.
func (s *state) sample(now time.Time) {
	for _, i := range s.items {
		i.meter.add(now, i.offset)
	}
	s.total.meter.add(now, s.moved())
}

// moved is the number of bytes of the sum.
func (s *state) moved() int64 {
	n := s.total.moved
	for _, i := range s.items {
		n += i.offset
	}
	return n
}

// rate is that of the sum in bytes per second. Where nothing reports bytes before
// it is done, the average since the beginning is the best there is.
func (s *state) rate(now time.Time) float64 {
	if slices.ContainsFunc(s.items, func(i *item) bool { return i.reports }) {
		return s.total.meter.rate()
	}
	elapsed := now.Sub(s.total.started)
	if elapsed < time.Second {
		return 0
	}
	return float64(s.total.moved-s.total.found) / elapsed.Seconds()
}

// window is how far back a rate looks: long enough to be steady, short enough to
// tell of a stall.
const window = 5 * time.Second

// meter measures bytes per second over a window.
type meter struct{ samples []sample }

type sample struct {
	at time.Time
	n  int64
}

// add notes that n bytes were there. Fewer than before begin a new measurement.
func (m *meter) add(at time.Time, n int64) {
	if k := len(m.samples); k > 0 && n < m.samples[k-1].n {
		m.samples = m.samples[:0]
	}
	for len(m.samples) > 1 && at.Sub(m.samples[1].at) >= window {
		m.samples = m.samples[1:]
	}
	m.samples = append(m.samples, sample{at, n})
}

// rate is in bytes per second; 0 before there is a tenth of a second to judge by.
func (m *meter) rate() float64 {
	if len(m.samples) < 2 {
		return 0
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	if d := last.at.Sub(first.at); d >= time.Second/10 {
		return float64(last.n-first.n) / d.Seconds()
	}
	return 0
}

// left is the time that size-n bytes take at a rate; 0 = nobody knows.
func left(n, size int64, perSecond float64) time.Duration {
	if size <= n || perSecond < 1 {
		return 0
	}
	return time.Duration(float64(size-n) / perSecond * float64(time.Second))
}
